import { runtimeDirectory, webgpuBackend } from "../../src/common/env.ts";
import { fingerprint, readStamp, writeStamp } from "./fingerprint.ts";
import { inProject, root } from "./project.ts";
import { runQuietly } from "./run_quietly.ts";

/** The variables that a child needs to find its GPU adapter. */
export async function gpuEnvironment(): Promise<Record<string, string>> {
  const environment: Record<string, string> = {};
  if (Deno.build.os !== "linux") return environment;
  // Without it Deno also initialises OpenGL, which takes long and complains on a machine without a display.
  if (webgpuBackend() === undefined) environment.DENO_WEBGPU_BACKEND = "vulkan";
  if (runtimeDirectory() === undefined) {
    const directory = inProject(".cache", "runtime");
    await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
    environment.XDG_RUNTIME_DIR = directory;
  }
  return environment;
}

/** Asked in a child: a broken driver takes its process with it. */
const probe = `const adapter = await navigator.gpu?.requestAdapter();
console.log(adapter ? "adapter:" + (adapter.info.description || adapter.info.device || "unnamed") : "none");`;

/**
 * The name of the GPU adapter that Deno finds, or undefined when there is none. A found adapter is remembered until Deno
 * or the machine's Vulkan drivers change, because asking costs a process.
 */
export async function findAdapter(
  environment: Record<string, string>,
): Promise<string | undefined> {
  const inputs = await fingerprint(
    [Deno.version.deno, webgpuBackend() ?? "", ...Object.values(environment)],
    [
      "/etc/vulkan/icd.d",
      "/usr/share/vulkan/icd.d",
      "/usr/local/share/vulkan/icd.d",
      "/dev/dri",
      "/dev/nvidia0",
    ],
  );
  const stamp = await readStamp("adapter");
  if (stamp?.fingerprint === inputs) return stamp.found;
  const { stdout } = await runQuietly(Deno.execPath(), ["eval", probe], {
    env: environment,
    cwd: root,
  });
  const found = /^adapter:(.*)$/m.exec(stdout)?.[1];
  if (found !== undefined) await writeStamp("adapter", inputs, found);
  return found;
}

const packages = ["mesa-vulkan-drivers", "libvulkan1"];

/** The command that installs software Vulkan here, or undefined where we know none. */
export async function softwareVulkanCommand(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  let release: string;
  try {
    release = await Deno.readTextFile("/etc/os-release");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const ids = [...release.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap((match) =>
    match[1].split(" ")
  );
  if (ids.some((id) => id === "debian" || id === "ubuntu")) {
    return `apt-get install -y ${packages.join(" ")}`;
  }
  if (ids.some((id) => id === "fedora" || id === "rhel")) {
    return "dnf install -y mesa-vulkan-drivers vulkan-loader";
  }
  if (ids.includes("arch")) return "pacman -S --noconfirm vulkan-swrast vulkan-icd-loader";
  if (ids.includes("alpine")) return "apk add mesa-vulkan-swrast vulkan-loader";
  return undefined;
}

/**
 * Installs software Vulkan with apt; for root on Debian and its children only.
 * @throws {Error} with apt's output when it fails.
 */
export async function installSoftwareVulkan(): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  // A stale or absent package list is the usual state of a container.
  await runQuietly("apt-get", ["update"], { env });
  // Another installation may be running, as on a machine that has just started.
  const args = [
    "-o",
    "DPkg::Lock::Timeout=300",
    "install",
    "-y",
    "--no-install-recommends",
    ...packages,
  ];
  const { code, stdout, stderr } = await runQuietly("apt-get", args, { env });
  if (code !== 0) {
    throw new Error(`apt-get ${args.join(" ")} failed (exit ${code}):\n${stdout}\n${stderr}`);
  }
}
