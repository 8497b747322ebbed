/**
 * Ends the process when one of our own invariants is broken. Never for input: what a peer, a file
 * or a person sends is checked and answered.
 */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${invariant}`);
}
