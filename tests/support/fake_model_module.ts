import type { OpenedModel } from "../../src/engine/opened_model.ts";
import { type FakeModelOptions, openFakeModel } from "./fake_model.ts";

/** What a host loads in place of a real model. */
export function openModel(options: unknown): Promise<OpenedModel> {
  return openFakeModel(options as FakeModelOptions);
}

/** URL of this module, for `HostSpec.module`. */
export const fakeModelModule = import.meta.url;
