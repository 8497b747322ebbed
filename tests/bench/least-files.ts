/** What `least.ts` finds in its directory: the body of a request with its header, and the daemon's socket. */
export const leastRequest = "least.request";
export const leastSocket = "least.sock";
