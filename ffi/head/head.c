// The head: native code at the front of the one binary, between the kernel and Bun. It is the client and the starter, and lets Bun begin for
// all else. The build compiles this file, which takes in all others, with the C compiler inside Bun, takes the code out of memory and puts it
// into the executable (build/head/); gcc and clang make an object of the same shape of it, for the tests.
//
// No libc, no data that is written to, no relocations: a flat piece of code that runs wherever it is put. Hence no tables of pointers and no
// initial values for local structures. What the client needs comes last: the kernel maps at once what lies in the same 64 KiB as what is used
// first, and the build lets 64 KiB begin there. Numbers and words that TypeScript has, too, are in contract.h, which the build makes of them.
#include "contract.h"
#include "sys.h"
#include "text.h"
#include "message.h"
#include "take_on.c"
#include "starter.c"
#include "lender.c"
PLACE("pf_client_part")
CALLS
#include "text.c"
#include "attributes.c"
#include "start.c"
#include "words.c"
#include "place.c"
#include "context.c"
#include "conversation.c"
#include "client.c"

__asm__(ENTRY);
// Which face are we? Returns where to jump to, when none of ours. When ld.so was run as the program ("ld.so prefork"), it has loaded everything by
// now, and hands over what is to be called at the end (`atExit`): then Bun begins at once.
__attribute__((used, visibility("hidden"))) u64 pf_head(u64 *stack, u64 atExit) {
  struct context c;
  int count = (int)stack[0], options = 0, status = NOT_OURS;
  char **words = (char **)(stack + 1), **environment = words + count + 1;
  if (atExit) return pf_parameters()->entry;
  if (count > 0) {
    const char *name = words[0], *at;
    for (at = name; *at; at++) if (*at == '/') name = at + 1;
    if (same(name, STARTER_NAME)) starter();
    if (same(name, "pfc")) options = 1;
    else if (!same(name, "pfd") && count > 1 && same(words[1], "run")) options = 2;
  }
  if (options) status = client(&c, environment, words, count, options);
  if (status < 0) status = end_by(-status);
  if (status != NOT_OURS) pf_call1(SYS_exit_group, status);
  return let_bun_begin(stack);
}

#ifdef __TINYC__
// For the build: where things are. The last text marks the end of what is ours.
void pf_entry(void);
void pf_code(void);
void pf_client_part(void);
long pf_where_code(void) { return (long)&pf_code; }
long pf_where_entry(void) { return (long)&pf_entry; }
long pf_where_parameters(void) { return (long)pf_parameters(); }
long pf_where_client(void) { return (long)&pf_client_part; }
long pf_where_lend(void) { return (long)&pf_lend; }
long pf_where_end(void) { return (long)"PREFORK-HEAD-END"; }
#endif
