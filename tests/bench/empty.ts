// The least that a compiled Bun program can be: what the client is measured against.
export {};
