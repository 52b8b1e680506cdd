import { ConstraintError } from "../common/errors.ts";

/** Of what a schema may say, and the automaton does not keep: refused by a strict reader, left out by a loose one. */
export class NotKept extends ConstraintError {}
