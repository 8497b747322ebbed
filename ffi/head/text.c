// What text.h declares.
OWN void *memset(void *to, int byte, u64 size) { u8 *at = to; while (size--) *at++ = (u8)byte; return to; }
OWN void *memcpy(void *to, const void *from, u64 size) { u8 *at = to; const u8 *source = from; while (size--) *at++ = *source++; return to; }

static u64 length(const char *text) { u64 n = 0; while (text[n]) n++; return n; }
static int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
static int has(const char *text, char wanted) { while (*text && *text != wanted) text++; return *text == wanted; }

static void text_begin(struct text *t, char *memory, u64 size) { t->start = t->at = memory; t->end = memory + size - 1; t->cut = 0; *memory = 0; }
static void put_bytes(struct text *t, const char *bytes, u64 size) {
  if (size > (u64)(t->end - t->at)) { size = (u64)(t->end - t->at); t->cut = 1; }
  memcpy(t->at, bytes, size);
  t->at += size;
  *t->at = 0;
}
static void put(struct text *t, const char *more) { put_bytes(t, more, length(more)); }
static void put_number(struct text *t, u64 number) {
  char digits[20], *at = digits + 20;
  do *--at = (char)('0' + number % 10); while (number /= 10);
  put_bytes(t, at, (u64)(digits + 20 - at));
}

static long number_at(const char **at, long most) {
  long n = 0;
  const char *start = *at;
  for (; **at >= '0' && **at <= '9'; ++*at) { n = n * 10 + **at - '0'; if (n > most) return -1; }
  return *at == start ? -1 : n;
}

static const char *value_of(char **environment, const char *name) {
  u64 n = length(name), i;
  for (; *environment; environment++) {
    for (i = 0; i < n && (*environment)[i] == name[i]; i++);
    if (i == n && (*environment)[n] == '=') return *environment + n + 1;
  }
  return 0;
}
static const char *variable(char **environment, const char *name) {
  const char *value = value_of(environment, name);
  return value && *value ? value : 0;
}

static void set_mask(int how, u64 mask) { pf_call4(SYS_rt_sigprocmask, how, (long)&mask, 0, 8); }
