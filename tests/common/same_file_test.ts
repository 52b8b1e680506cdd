import { assertEquals } from "@std/assert";
import { sameFile } from "../../src/common/same_file.ts";
import { inFolder } from "../support/in_folder.ts";

Deno.test("sameFile sees through spelling, symbolic links and hard links", () =>
  inFolder(async (folder) => {
    const at = (name: string) => `${folder}/${name}`;
    await Deno.writeTextFile(at("a"), "a");
    await Deno.writeTextFile(at("b"), "a");
    await Deno.mkdir(at("d"));
    await Deno.symlink("a", at("soft"));
    await Deno.link(at("a"), at("hard"));
    for (const name of ["a", "./a", "d/../a", "soft", "hard"]) {
      assertEquals(await sameFile(at("a"), at(name)), true, name);
    }
    for (const name of ["b", "d", "nothing", "a/nothing"]) {
      assertEquals(await sameFile(at("a"), at(name)), false, name);
    }
    assertEquals(await sameFile(at("nothing"), at("./nothing")), false);
  }));
