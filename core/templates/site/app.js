// The pages work without this. It adds the search, crates that have no page of their own, and
// buttons that copy. It asks nobody but the files beside it: data comes as scripts, because that is
// the only way that also works where a report is opened from a disk.
"use strict";
(() => {
  const waiting = new Map();

  // Called by the files of data, with gzip in base64.
  window.ejectaData = (key, packed) => {
    const wait = waiting.get(key);
    if (!wait) return;
    waiting.delete(key);
    unpack(packed).then((text) => wait.resolve(JSON.parse(text))).catch(wait.reject);
  };

  async function unpack(packed) {
    const binary = atob(packed);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function load(directory, key) {
    return new Promise((resolve, reject) => {
      waiting.set(key, { resolve, reject });
      const script = document.createElement("script");
      script.src = `${directory}${key}.js`;
      script.onload = () => script.remove();
      script.onerror = () => {
        waiting.delete(key);
        reject(new Error(`${key} is not there`));
      };
      document.head.append(script);
    });
  }

  const id = (name) => document.getElementById(name);
  const address = () => new URLSearchParams(location.hash.slice(1));
  const number = (n) => n.toLocaleString("en");

  // ---- buttons that copy

  function copyButtons(root) {
    for (const button of root.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      const label = button.textContent;
      button.addEventListener("click", async () => {
        const source = id(button.dataset.copy);
        try {
          await navigator.clipboard.writeText(source.textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(source);
          button.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it";
        }
        setTimeout(() => { button.textContent = label; }, 2000);
      });
    }
  }

  // ---- one crate that has no page of its own

  async function showCrate(place) {
    const wanted = address();
    const n = Number(wanted.get("n"));
    const status = id("crate-status");
    if (!wanted.has("n") || !Number.isInteger(n) || n < 0) {
      if (status) status.textContent = "The address names no crate.";
      return;
    }
    const rows = Number(place.dataset.crateRows);
    if (status) status.textContent = "Loading…";
    try {
      const shard = await load(place.dataset.crateData, `crates-${Math.floor(n / rows)}`);
      const html = shard[n % rows];
      if (!html) throw new Error("no such crate");
      // Made by the generator as all pages are: text from outside is escaped in it, and the policy
      // of this page runs nothing that stands in it.
      place.innerHTML = html;
      const crate = place.querySelector("[data-id]").dataset.id;
      if (wanted.get("id") && crate !== wanted.get("id")) {
        throw new Error("the report was made anew, and the crate is elsewhere");
      }
      document.title = `${crate}: ${document.title}`;
      copyButtons(place);
    } catch (error) {
      place.textContent = "";
      const line = document.createElement("p");
      line.id = "crate-status";
      line.setAttribute("role", "alert");
      line.textContent = `This crate cannot be shown: ${error.message}.`;
      place.append(line);
    }
  }

  // ---- all crates

  const PER_PAGE = 100;

  function search(form) {
    const verdicts = form.dataset.verdicts.split(" ");
    const reasons = form.dataset.reasons.split(" ");
    const pages = form.dataset.pages;
    const shardCount = Number(form.dataset.shards);
    const all = Number(form.dataset.crates);
    const shards = new Array(shardCount);
    const perShard = Number(form.dataset.perShard);
    let loaded = 0, failed = 0;
    let found = new Uint32Array(0), page = 0, shown = 0, longest = null;
    const input = id("q"), rows = id("rows"), count = id("count");
    const checks = [...form.querySelectorAll("input[type=checkbox]")];

    const codes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0) - 97);

    function prepare(data) {
      const names = data.names.split("\n");
      const text = `\n${data.names.toLowerCase().replaceAll("-", "_")}\n`;
      const starts = new Uint32Array(names.length);
      for (let i = 0, at = 1; i < names.length; i++) { starts[i] = at; at += names[i].length + 1; }
      return { names, text, starts, rest: data.rest.split("\n"), verdicts: codes(data.verdicts),
        reasons: codes(data.reasons), times: Uint32Array.from(data.times), at: data.at };
    }

    function choice() {
      const words = input.value.trim().toLowerCase().replaceAll("-", "_").split(/[\s@]+/);
      const chosen = checks.filter((c) => c.checked).map((c) => c.value);
      return { name: words[0], version: (words[1] || "").replaceAll("_", "-"),
        verdicts: verdicts.map((verdict) => chosen.length === 0 || chosen.includes(verdict)),
        reason: id("reason").value === "" ? -1 : reasons.indexOf(id("reason").value),
        sort: id("sort").value };
    }

    // Each row that fits has a group: how well its name fits, then its verdict. Within a group rows
    // stay in the order of their names, so that nothing has to be sorted; 0 does not fit.
    function find() {
      const want = choice(), kinds = verdicts.length, byName = want.sort === "name";
      const groups = new Uint8Array(shardCount * perShard);
      const sizes = new Uint32Array(3 * kinds + 1);
      const put = (shard, n, row, rank) => {
        const verdict = shard.verdicts[row];
        if (!want.verdicts[verdict] || (want.reason >= 0 && shard.reasons[row] !== want.reason) ||
          (want.version !== "" && !shard.rest[row].startsWith(want.version))) return;
        const group = 1 + rank * kinds + (byName ? 0 : verdict);
        groups[n * perShard + row] = group;
        sizes[group]++;
      };
      shards.forEach((shard, n) => {
        if (!shard) return;
        const { text, starts } = shard;
        if (want.name === "") {
          for (let row = 0; row < starts.length; row++) put(shard, n, row, 0);
          return;
        }
        let row = 0, at = text.indexOf(want.name, 0);
        while (at >= 0) {
          while (row + 1 < starts.length && starts[row + 1] <= at) row++;
          const first = at === starts[row];
          const whole = first && text[at + want.name.length] === "\n";
          put(shard, n, row, whole ? 0 : first ? 1 : 2);
          if (row + 1 === starts.length) break;
          at = text.indexOf(want.name, starts[row + 1]);
        }
      });
      const ends = new Uint32Array(sizes.length);
      for (let group = 1; group < sizes.length; group++) ends[group] = ends[group - 1] + sizes[group - 1];
      found = new Uint32Array(ends[ends.length - 1] + sizes[sizes.length - 1]);
      if (want.sort === "time" && longest) {
        for (let i = 0, filled = 0; filled < found.length; i++) if (groups[longest[i]] > 0) found[filled++] = longest[i];
        return;
      }
      for (let row = 0; row < groups.length; row++) if (groups[row] > 0) found[ends[groups[row]]++] = row;
      if (want.sort === "time") sortByTime(found);
    }

    function sortByTime(list) {
      const keys = new Float64Array(list.length);
      list.forEach((row, i) => { keys[i] = (134217728 - shards[Math.floor(row / perShard)].times[row % perShard]) * 16777216 + row; });
      keys.sort();
      keys.forEach((key, i) => { list[i] = key % 16777216; });
      return list;
    }

    // Sorting all crates takes longer than anybody should wait for a letter: it is done once, when
    // all of the index is there.
    function rank() {
      const all = new Uint32Array(shards.reduce((sum, shard) => sum + (shard ? shard.names.length : 0), 0));
      let filled = 0;
      shards.forEach((shard, n) => { for (let row = 0; shard && row < shard.names.length; row++) all[filled++] = n * perShard + row; });
      longest = sortByTime(all);
    }

    function seconds(tenths) {
      if (tenths < 600) return `${Math.floor(tenths / 10)}.${tenths % 10} s`;
      const whole = Math.round(tenths / 10);
      if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
      const minutes = Math.round(whole / 60);
      return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    }

    function cell(row, text, name) {
      const made = row.insertCell();
      if (name) made.className = name;
      made.textContent = text;
      return made;
    }

    function drawRow(global) {
      const shard = shards[Math.floor(global / perShard)], row = global % perShard;
      const name = shard.names[row], rest = shard.rest[row];
      const crate = `${name}-${rest}`, verdict = verdicts[shard.verdicts[row]];
      const made = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      const link = document.createElement("a");
      const own = pages === "all" || pages.split(" ").includes(verdict);
      link.href = own ? `crates/${encodeURIComponent(crate)}.html`
        : `crate.html#${new URLSearchParams({ n: shard.at[row], id: crate })}`;
      const version = document.createElement("span");
      version.textContent = rest;
      link.append(`${name} `, version);
      head.append(link);
      made.append(head);
      const tag = document.createElement("span");
      tag.className = "tag";
      const dot = id("filters").querySelector(`rect.${verdict}`);
      if (dot) tag.append(dot.parentNode.cloneNode(true));
      tag.append(verdict);
      cell(made, "").append(tag);
      const reason = reasons[shard.reasons[row]];
      cell(made, reason === "none" ? "" : reason);
      cell(made, shard.times[row] ? seconds(shard.times[row]) : "", "n");
      return made;
    }

    function draw() {
      const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
      // A page that an address names may be there only when all of the index is.
      shown = Math.min(page, last);
      if (loaded + failed === shardCount) page = shown;
      const part = found.subarray(shown * PER_PAGE, (shown + 1) * PER_PAGE);
      rows.replaceChildren(...Array.from(part, drawRow));
      id("found").hidden = found.length === 0;
      id("pager").hidden = last === 0;
      id("page").textContent = `page ${number(shown + 1)} of ${number(last + 1)}`;
      id("prev").disabled = shown === 0;
      id("next").disabled = shown === last;
      const crates = found.length === 1 ? "1 crate" : `${number(found.length)} crates`;
      const missing = failed > 0 ? `; ${failed} parts of the index could not be had` : "";
      count.textContent = loaded + failed < shardCount
        ? `${crates} so far; the index is loading: ${loaded} of ${shardCount} parts`
        : `${crates} of ${number(all)}${missing}`;
    }

    function keep() {
      const now = new URLSearchParams();
      if (input.value.trim()) now.set("q", input.value.trim());
      const chosen = checks.filter((c) => c.checked).map((c) => c.value);
      if (chosen.length) now.set("verdict", chosen.join(","));
      for (const name of ["reason", "sort"]) if (id(name).value) now.set(name, id(name).value);
      if (page) now.set("page", page + 1);
      const hash = now.toString();
      if (hash !== location.hash.slice(1)) history.replaceState(null, "", `#${hash}`);
    }

    function restore() {
      const now = address();
      input.value = now.get("q") || "";
      const chosen = new Set((now.get("verdict") || "").split(","));
      for (const check of checks) check.checked = chosen.has(check.value);
      for (const name of ["reason", "sort"]) {
        id(name).value = now.get(name) || "";
        if (id(name).selectedIndex < 0) id(name).value = "";
      }
      page = Math.max(0, (Number.parseInt(now.get("page"), 10) || 1) - 1);
    }

    function changed() { page = 0; find(); draw(); keep(); }
    function turn(by) { page = Math.max(0, shown + by); draw(); keep(); }

    form.hidden = false;
    restore();
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", changed);
    id("clear").addEventListener("click", () => { form.reset(); changed(); input.focus(); });
    id("prev").addEventListener("click", () => turn(-1));
    id("next").addEventListener("click", () => turn(1));
    addEventListener("hashchange", () => { restore(); find(); draw(); });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typing = event.target.matches("input[type=search], select");
      const links = [...rows.querySelectorAll("a")];
      const at = links.indexOf(document.activeElement);
      if (event.key === "/" && !typing) { input.focus(); input.select(); }
      else if (event.key === "Escape" && at >= 0) input.focus();
      else if (event.key === "ArrowDown" && (event.target === input || at >= 0)) (links[at + 1] || links[at])?.focus();
      else if (event.key === "ArrowUp" && at >= 0) (links[at - 1] || input).focus();
      else if (event.key === "[" && !typing && !id("prev").disabled) turn(-1);
      else if (event.key === "]" && !typing && !id("next").disabled) turn(1);
      else return;
      event.preventDefault();
    });

    let drawn = 0;
    async function one(n) {
      try {
        const data = prepare(await load(form.dataset.data, `names-${n}`));
        shards[n] = data;
        loaded++;
      } catch { failed++; }
      if (loaded + failed === shardCount) rank();
      const now = performance.now();
      if (loaded + failed === shardCount || now - drawn > 300) { drawn = now; find(); draw(); }
    }
    let next = 0;
    const worker = async () => { while (next < shardCount) await one(next++); };
    if (shardCount === 0) draw();
    for (let n = 0; n < 4; n++) worker();
  }

  copyButtons(document);
  const crate = document.querySelector("[data-crate-data]");
  if (crate) { showCrate(crate); addEventListener("hashchange", () => location.reload()); }
  const form = id("search");
  if (form) search(form);
})();
