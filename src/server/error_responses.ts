import { errorSchema } from "./schema_common.ts";

const json = { "application/json": { schema: errorSchema } };

/** The error answers that every route may give, for the OpenAPI document. */
export const errorResponses = {
  400: { description: "The request is at fault; `param` names the field.", content: json },
  401: { description: "An API key is required and this is none.", content: json },
  403: { description: "A host name or a page's origin is not let in.", content: json },
  404: { description: "No such model.", content: json },
  408: { description: "Nothing of the body came for long.", content: json },
  413: { description: "The body is over the limit.", content: json },
  415: { description: "The body is compressed, or not said to be JSON in UTF-8.", content: json },
  429: { description: "The queue is full; `Retry-After` says when to try again.", content: json },
  500: { description: "The server is at fault; its log says more.", content: json },
  503: {
    description: "Starting, stopping or recovering; `Retry-After` says when to try again.",
    content: json,
  },
} as const;
