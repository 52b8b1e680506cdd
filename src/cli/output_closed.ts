/** Nobody reads standard output any more, as with `sparrow inspect FILE | head`: not a fault, and nothing to tell. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}
