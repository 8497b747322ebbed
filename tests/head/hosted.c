// The client of the head as a program with a libc, for sanitizers. Ends with 77 where Bun would begin.
#define memset pf_memset
#define memcpy pf_memcpy
#define HOSTED static
#include "head.c"

int main(int count, char **words, char **environment) {
  struct context c;
  int status = client(&c, environment, words, count, 1);
  if (status < 0) status = end_by(-status);
  return status == NOT_OURS ? 77 : status;
}
