/**
 * Whether two paths lead to one file: by spelling, symbolic link or hard link. A file that is not there is only its own path.
 */
export async function sameFile(one: string, other: string): Promise<boolean> {
  if (one === other) return true;
  const [a, b] = await Promise.all([find(one), find(other)]);
  if (a === undefined || b === undefined) return false;
  if (a.path === b.path) return true;
  return a.info.ino !== null && a.info.ino !== 0 && a.info.ino === b.info.ino &&
    a.info.dev === b.info.dev;
}

async function find(path: string): Promise<{ path: string; info: Deno.FileInfo } | undefined> {
  try {
    return { path: await Deno.realPath(path), info: await Deno.stat(path) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return;
    throw error;
  }
}
