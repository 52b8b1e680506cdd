const parameters = {
  type: "object",
  properties: { zone: { enum: ["CET", "UTC"] } },
  required: ["zone"],
  additionalProperties: false,
};

/** One tool: the time in a zone. */
export const responseTools = [
  { type: "function", name: "get_time", description: "The time", parameters },
];

/** What a model writes to call it. */
export const writtenCall =
  '<tool_call>\n{"name": "get_time", "arguments": {"zone": "UTC"}}\n</tool_call>';
