// Lets Bun begin as if nothing were in front of it: does what the kernel would have done with the program's own headers.
// See load_elf_interp in fs/binfmt_elf.c, and getauxval(3).

// Written by the build into the finished head (build/head/elf.ts): where Bun begins, and the program headers ld.so is to see. In the code,
// since there is no data of ours: nothing here is ever written to.
struct parameters { char magic[16]; u64 entry, phnum, lend; struct phdr phdrs[16]; };
const volatile struct parameters *pf_parameters(void) __attribute__((visibility("hidden"))); // no `extern`: that would be read from a table
__asm__(PARAMETERS);

static int protection(u32 flags) {
  return (flags & 4 ? PROT_READ : 0) | (flags & 2 ? PROT_WRITE : 0) | (flags & 1 ? PROT_EXEC : 0);
}

// Maps the interpreter at `path`. Returns its base, and where it begins in `entry`; or an errno, negated.
static long map_interpreter(const char *path, u64 page, u64 *entry) {
  struct phdr *at, *end, *p;
  long fd = pf_call3(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC), result = -ENOEXEC, base = 0, size;
  u64 low = ~0ul, high = 0, start, fileEnd, memoryEnd, mapped, needed;
  long offset, access;
  struct ehdr *header;
  u8 raw[2048] __attribute__((aligned(8)));
  if (fd < 0) return fd;
  header = (void *)raw;
  size = pf_call3(SYS_read, fd, (long)raw, sizeof raw);
  at = (void *)(raw + header->phoff);
  end = at + header->phnum;
  if (size < (long)sizeof *header || header->type != ET_DYN || header->machine != EM_OURS || header->phoff > sizeof raw ||
      header->phoff + header->phnum * sizeof *at > (u64)size) goto out;
  for (p = at; p < end; p++) {
    if (p->type != PT_LOAD) continue;
    if ((p->vaddr & -page) < low) low = p->vaddr & -page;
    if (p->vaddr + p->memsz > high) high = (p->vaddr + p->memsz + page - 1) & -page;
  }
  if (high <= low) goto out;
  for (p = at; p < end; p++) {
    if (p->type != PT_LOAD) continue;
    start = p->vaddr & -page; fileEnd = p->vaddr + p->filesz; memoryEnd = p->vaddr + p->memsz;
    mapped = (fileEnd + page - 1) & -page; needed = (memoryEnd + page - 1) & -page;
    offset = (long)(p->offset - (p->vaddr - start)); access = protection(p->flags);
    // The first one reserves the place of all; the others are mapped over it.
    if (base) result = pf_call6(SYS_mmap, base + (long)start, (long)(mapped - start), access, MAP_PRIVATE | MAP_FIXED, fd, offset);
    else result = pf_call6(SYS_mmap, 0, (long)(high - low), access, MAP_PRIVATE, fd, offset);
    if (result < 0) goto out;
    if (!base) base = result - (long)start;
    if (memoryEnd > fileEnd && p->flags & 2) memset((void *)(base + fileEnd), 0, (mapped < memoryEnd ? mapped : needed) - fileEnd);
    if (needed > mapped) {
      result = pf_call6(SYS_mmap, base + (long)mapped, (long)(needed - mapped), access, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
      if (result < 0) goto out;
    }
  }
  *entry = base + header->entry;
  result = base;
out:
  pf_call1(SYS_close, fd);
  return result;
}

// The path of ld.so: the build has seen to it that there is one.
static const char *interpreter(void) {
  const volatile struct phdr *header = pf_parameters()->phdrs;
  while (header->type != PT_INTERP) header++;
  return (const char *)header->vaddr;
}

// Returns where to jump to, with `stack` as the kernel gave it.
static u64 let_bun_begin(u64 *stack) {
  u64 *aux = stack + 1 + stack[0] + 1, *at, page = 4096, entry = 0;
  long base;
  const char *path;
  struct text t;
  char line[4096];
  while (*aux) aux++;
  for (at = ++aux; at[0]; at += 2) if (at[0] == AT_PAGESZ) page = at[1];
  path = interpreter();
  base = map_interpreter(path, page, &entry);
  if (base < 0) {
    text_begin(&t, line, sizeof line);
    put(&t, "prefork: cannot load ");
    put(&t, path);
    put(&t, base == -ENOENT ? ": no such file (this binary needs glibc)\n" : ": it cannot be mapped into memory\n");
    pf_call3(SYS_write, 2, (long)line, (long)(t.at - line));
    pf_call1(SYS_exit_group, 127);
  }
  for (at = aux; at[0]; at += 2) {
    if (at[0] == AT_PHDR) at[1] = (u64)pf_parameters()->phdrs;
    if (at[0] == AT_PHNUM) at[1] = pf_parameters()->phnum;
    if (at[0] == AT_BASE) at[1] = (u64)base;
    if (at[0] == AT_ENTRY) at[1] = pf_parameters()->entry;
  }
  return entry;
}
