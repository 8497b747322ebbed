// The options of `run`, as far as they need no explanation; the table of them is TypeScript's (src/cli/options.ts). Any word that is
// not exactly right, and any option that is not known here, is Bun's to explain or to do.

// The words of the command line, read option by option. `letters` is what is left of a cluster such as -wC.
struct words { char **word; int count, at; const char *letters, *value; };
enum { NO_MORE = -1, ODD = -2 };

// The next option's number, with its value if it takes one; NO_MORE: the command begins at `at`; ODD: not for us.
static int next_option(struct words *w) {
  const char *name = 0, *equals, *entry = OPTION_TABLE;
  char letter = 0;
  w->value = 0;
  if (w->letters && *w->letters) letter = *w->letters++;
  else {
    if (w->at >= w->count) return ODD; // no command
    const char *word = w->word[w->at];
    if (word[0] != '-' || !word[1]) return NO_MORE;
    w->at++;
    if (word[1] != '-') { w->letters = word + 1; return next_option(w); }
    name = word + 2;
    if (!*name) return w->at < w->count ? NO_MORE : ODD;
  }
  // An entry: its letter or a blank, "f" for a flag or "v" for one with a value, its name.
  for (int number = 0; *entry; number++, entry += length(entry) + 1) {
    if (!name) { if (letter != entry[0]) continue; return entry[1] == 'f' ? number : ODD; }
    for (equals = name; *equals && *equals != '='; equals++);
    u64 size = (u64)(equals - name), at = 0;
    while (at < size && entry[2 + at] == name[at]) at++;
    if (at < size || entry[2 + at]) continue;
    if (entry[1] == 'f') return *equals ? ODD : number;
    if (*equals) w->value = equals + 1;
    else if (w->at < w->count) w->value = w->word[w->at++];
    else return ODD;
    return number;
  }
  return ODD;
}

// The place of `word` in a list of words, each ended by a NUL, the last one empty; -1: not there.
static int place_in(const char *list, const char *word) {
  for (int at = 0; *list; at++, list += length(list) + 1) if (same(list, word)) return at;
  return -1;
}

// A time as timeout(1) takes it, in ms; -1: not a time, or one with more digits than are worth it here.
static long milliseconds(const char *text) {
  long whole = *text == '.' ? 0 : number_at(&text, 1000000000), thousandths = 0, unit = 1000, scale = 100;
  if (whole < 0) return -1;
  if (*text == '.' && text[1] >= '0' && text[1] <= '9')
    for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10) { if (!scale) return -1; thousandths += (*text - '0') * scale; }
  if (*text == 'm') unit = 60000;
  if (*text == 'h') unit = 3600000;
  if (*text == 'd') unit = 86400000;
  if (has("smhd", *text) && *text) text++;
  long ms = whole * unit + thousandths * unit / 1000;
  return *text || ms > TIMEOUT_MS_MAX ? -1 : ms;
}

// The options that are dealt with here.
#define BIT(option) (1ul << OPTION_##option)
#define OPTIONS_KNOWN (BIT(wait) | BIT(create) | BIT(warm) | BIT(no_stdin) | BIT(stdin) | BIT(fd) | BIT(cwd) | BIT(env) | BIT(unset) | \
  BIT(clear_env) | BIT(timeout) | BIT(kill_after) | BIT(kill_group) | BIT(on_disconnect) | BIT(socket) | BIT(mode) | BIT(project))

// What is asked for. `flags` has a bit for each option that was given.
struct asked {
  char **words;
  int count, options, command; // where the options begin, and the command
  u64 flags;
  const char *socket, *project, *directory;
  int mode, onDisconnect;
  long timeoutMs, killAfterMs;
};

static void words_begin(struct words *w, const struct asked *a) {
  w->word = a->words; w->count = a->count; w->at = a->options; w->letters = w->value = 0;
}

static int read_words(struct asked *a) {
  struct words w;
  words_begin(&w, a);
  a->flags = 0; a->socket = a->project = a->directory = 0;
  a->mode = -1; a->onDisconnect = 0; a->timeoutMs = a->killAfterMs = 0;
  for (;;) {
    int option = next_option(&w);
    if (option == ODD) return 0;
    if (option == NO_MORE) break;
    a->flags |= 1ul << option;
    if (option == OPTION_socket) a->socket = w.value;
    else if (option == OPTION_project) a->project = w.value;
    else if (option == OPTION_cwd) a->directory = w.value;
    else if (option == OPTION_mode) { if ((a->mode = place_in(MODES, w.value)) < 0) return 0; }
    else if (option == OPTION_on_disconnect) { if ((a->onDisconnect = place_in(DISCONNECTIONS, w.value)) < 0) return 0; }
    else if (option == OPTION_timeout) { if ((a->timeoutMs = milliseconds(w.value)) < 0) return 0; }
    else if (option == OPTION_kill_after) { if ((a->killAfterMs = milliseconds(w.value)) < 0) return 0; }
  }
  a->command = w.at;
  u64 both = BIT(no_stdin) | BIT(stdin);
  if (a->flags & ~OPTIONS_KNOWN || (a->flags & both) == both) return 0;
  return !(a->killAfterMs > 0 && !(a->flags & BIT(timeout)));
}
