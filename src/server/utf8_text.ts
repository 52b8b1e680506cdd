import { ApiError } from "./api_error.ts";

/** Names of UTF-8, and of what it contains. */
const known = new Set(["utf-8", "utf8", "us-ascii", "ascii"]);

/**
 * The text of a body, which is UTF-8, as JSON is (RFC 8259, section 8.1): read as that all the same, others would be other words than were
 * sent. Throws `ApiError`: 415 for a type that names another charset, 400 for bytes that are not UTF-8.
 */
export function utf8Text(
  body: ArrayBuffer | Uint8Array<ArrayBuffer>,
  contentType: string | null | undefined,
): string {
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(contentType ?? "")?.[1];
  if (charset !== undefined && !known.has(charset.toLowerCase())) {
    throw new ApiError(`the body is said to be in ${charset || "no charset"}, expected UTF-8`, {
      status: 415,
      type: "invalid_request_error",
      code: "unsupported_charset",
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw ApiError.invalid(
      "body: got bytes that are not UTF-8, expected JSON in UTF-8",
      undefined,
      "invalid_utf8",
    );
  }
}
