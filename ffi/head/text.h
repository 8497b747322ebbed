// Memory and text. The compilers may call memset and memcpy for code of their own; the one in Bun must find ours under another name.
#ifdef __TINYC__
#define memset pf_memset
#define memcpy pf_memcpy
#define OWN static
#elif defined(HOSTED)
#define OWN HOSTED
#else
#define OWN
#endif
OWN void *memset(void *to, int byte, u64 size);
OWN void *memcpy(void *to, const void *from, u64 size);
static u64 length(const char *text);
static int same(const char *a, const char *b);
static int has(const char *text, char wanted);

// Text under construction, in memory of a fixed size. What does not fit makes it `cut`, and is left out; it is always ended by a NUL.
struct text { char *start, *at, *end; int cut; };
static void text_begin(struct text *t, char *memory, u64 size);
static void put_bytes(struct text *t, const char *bytes, u64 size);
static void put(struct text *t, const char *more);
static void put_number(struct text *t, u64 number);

// Reads a whole number, and moves `at` behind it. -1: there is none, or it is over `most`.
static long number_at(const char **at, long most);

// A variable's value; 0: it is not set, as in getenv(3). By `variable`, an empty one counts as not set.
static const char *value_of(char **environment, const char *name);
static const char *variable(char **environment, const char *name);

static void set_mask(int how, u64 mask);
