import { ModelFormatError } from "../common/errors.ts";
import type { ToolCall, ToolDefinition } from "../common/tools.ts";
import { PythonTemplate } from "./python_template.ts";

/** One turn of a chat. */
export interface ChatTurn {
  role: string;
  content: string;
  name?: string;
  toolCalls?: readonly ToolCall[];
  toolCallId?: string;
}

/** What a template can refer to beside the messages. */
export interface ChatTemplateContext {
  addGenerationPrompt: boolean;
  bosToken: string;
  eosToken: string;
  /** Tools that may be called; the template sees Python's `None` where there are none. */
  tools?: readonly ToolDefinition[];
}

class Refusal extends Error {}

/** A model's own Jinja template for chats (`tokenizer.chat_template`). */
export class ChatTemplate {
  readonly #template: PythonTemplate;
  readonly #file: string;

  /** Throws `ModelFormatError` when `source` is not a template; `file` is named in errors. */
  constructor(source: string, file: string) {
    this.#file = file;
    try {
      this.#template = new PythonTemplate(source);
    } catch (error) {
      throw new ModelFormatError(
        `${file}: tokenizer.chat_template does not parse: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  /**
   * The text of `messages`. Throws `TypeError` when the template itself refuses them (roles that do not alternate, say)
   * and `ModelFormatError` when it fails.
   */
  render(messages: readonly ChatTurn[], context: ChatTemplateContext): string {
    try {
      return this.#template.render({
        messages: messages.map(toTemplateMessage),
        add_generation_prompt: context.addGenerationPrompt,
        bos_token: context.bosToken,
        eos_token: context.eosToken,
        // Templates tell whether there are any by comparing with `none`: undefined, as it would else be, is something else.
        tools: context.tools?.length
          ? context.tools.map((tool) => ({ type: "function", function: { ...tool } }))
          : null,
        documents: null,
        raise_exception: (message: unknown) => {
          throw new Refusal(String(message));
        },
      });
    } catch (error) {
      if (error instanceof Refusal) {
        throw new TypeError(`the model's chat template refuses these messages: ${error.message}`, {
          cause: error,
        });
      }
      throw new ModelFormatError(
        `${this.#file}: tokenizer.chat_template fails: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}

/** A turn with the names that templates know. */
function toTemplateMessage({ toolCalls, toolCallId, ...turn }: ChatTurn): Record<string, unknown> {
  return {
    ...turn,
    ...(toolCallId !== undefined && { tool_call_id: toolCallId }),
    ...(toolCalls && {
      tool_calls: toolCalls.map(({ id, name, arguments: values }) => ({
        id,
        type: "function",
        function: { name, arguments: values },
      })),
    }),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
