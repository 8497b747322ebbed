/** Package sources of apt, see sources.list(5): from those a machine has to those of source packages. */

/** Suites of a distribution that are named by what they are instead of by a codename. */
const rolling = /^(oldstable|stable|testing|unstable|sid)\b/;

/**
 * The part of one file in /etc/apt that is about the distribution itself, with its source packages.
 * @param name The file's name: its ending says in which of the two styles it is written.
 * @param codename Of the distribution, such as "bookworm"; other people's archives are left out.
 * @returns a file of the same style, or "" when nothing of that kind is in it.
 */
export function packageSources(name: string, text: string, codename: string | undefined): string {
  const isOurs = (suite: string): boolean => {
    const isNamed =
      codename !== undefined && codename !== "" && suite.split(/[-/]/)[0] === codename;
    return isNamed || rolling.test(suite);
  };
  const parts = name.endsWith(".sources") ? stanzas(text, isOurs) : lines(text, isOurs);
  return parts.join("");
}

/** The style with one line for each source: `deb [options] URI SUITE COMPONENT…`. */
function lines(text: string, isOurs: (suite: string) => boolean): string[] {
  return text.split("\n").flatMap((line) => {
    const [, rest, uri = "", suite = ""] =
      /^deb\s+((?:\[[^\]]*\]\s*)?(\S+)\s+(\S+).*)$/.exec(line) ?? [];
    if (rest === undefined || uri.startsWith("cdrom:") || !isOurs(suite)) return [];
    return [`deb ${rest}\n`, `deb-src ${rest}\n`];
  });
}

/** The style with one paragraph for each source, of lines `Name: value`. */
function stanzas(text: string, isOurs: (suite: string) => boolean): string[] {
  const withoutComments = text.replace(/^#.*\n?/gm, "");
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string =>
      new RegExp(`^${name}:[ \\t]*(.*)$`, "im").exec(stanza)?.[1]?.trim() ?? "";
    const suites = field("Suites").split(/\s+/).filter(isOurs);
    const hasPackages = field("Types").split(/\s+/).includes("deb");
    if (suites.length === 0 || !hasPackages || /^(no|false|0)$/i.test(field("Enabled"))) return [];
    const wanted = stanza
      .replace(/^Types:.*$/im, "Types: deb deb-src")
      .replace(/^Suites:.*$/im, `Suites: ${suites.join(" ")}`);
    return [`${wanted.trim()}\n\n`];
  });
}
