import { eTag, ifNoneMatch } from "@std/http/etag";
import { contentType } from "@std/media-types/content-type";
import { extname, fromFileUrl, join } from "@std/path";

/** Path segments that cannot leave the folder, nor name a hidden file. */
const plainPath = /^(\/[\w-][\w.-]{0,127})+$/;

const noFile = [Deno.errors.NotFound, Deno.errors.IsADirectory, Deno.errors.NotADirectory];

/**
 * Answers with the file at `path` (such as `/index.html`) in a folder, or 304 when the client has it. Undefined when
 * there is no such file.
 */
export async function serveFileFrom(
  folder: URL,
  path: string,
  request: Request,
): Promise<Response | undefined> {
  if (!plainPath.test(path)) return undefined;
  const file = join(fromFileUrl(folder), path);
  try {
    const etag = await eTag(await Deno.stat(file), { weak: true });
    const headers = new Headers({
      "Content-Type": contentType(extname(file)) ?? "application/octet-stream",
      "Cache-Control": "no-cache",
    });
    if (etag !== undefined) headers.set("ETag", etag);
    if (!ifNoneMatch(request.headers.get("If-None-Match"), etag)) {
      return new Response(null, { status: 304, headers });
    }
    return new Response(await Deno.readFile(file), { headers });
  } catch (error) {
    if (noFile.some((one) => error instanceof one)) return undefined;
    throw error;
  }
}
