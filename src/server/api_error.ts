import { cut } from "../common/cut.ts";

/** Characters of a message that are sent: it may name what the client sent, which may be megabytes. */
const mostWords = 4096;

/** The `error` object of OpenAI's error body. */
export interface ApiErrorBody {
  message: string;
  type: string;
  param: string | null;
  code: string | null;
}

/** What an `ApiError` carries beside its message. */
export interface ApiErrorDetails {
  status: number;
  type: string;
  code?: string;
  /** The request field at fault, as a dotted path. */
  param?: string;
  /** Seconds, sent as `Retry-After`. */
  retryAfterSeconds?: number;
  cause?: unknown;
}

/** A failure whose HTTP answer is decided. Its message is written for the client. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly type: string;
  readonly code?: string;
  readonly param?: string;
  readonly retryAfterSeconds?: number;

  constructor(message: string, details: ApiErrorDetails) {
    super(message, { cause: details.cause });
    this.status = details.status;
    this.type = details.type;
    this.code = details.code;
    this.param = details.param;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }

  /** A request that is at fault itself (400). */
  static invalid(message: string, param?: string, code?: string): ApiError {
    return new ApiError(message, { status: 400, type: "invalid_request_error", param, code });
  }

  /** OpenAI's body for this error. */
  body(): { error: ApiErrorBody } {
    return {
      error: {
        message: cut(this.message, mostWords),
        type: this.type,
        param: this.param ?? null,
        code: this.code ?? null,
      },
    };
  }

  /** The whole answer. */
  toResponse(headers: Record<string, string> = {}): Response {
    const all: Record<string, string> = { ...headers };
    if (this.retryAfterSeconds !== undefined) {
      all["Retry-After"] = String(Math.ceil(this.retryAfterSeconds));
    }
    // The rest of the body may still come, and is no request.
    if (this.status === 408) all["Connection"] = "close";
    if (this.status === 401) all["WWW-Authenticate"] = "Bearer";
    return Response.json(this.body(), { status: this.status, headers: all });
  }
}
