"use strict";
// The live part of the pages. Everything from outside becomes text nodes and numbers, never markup;
// without this file the pages reload themselves now and then.
(() => {
  const main = document.querySelector("main");
  if (main.dataset.events) follow(main.dataset.events);
  else if (main.dataset.refresh) refresh(Number(main.dataset.refresh) * 1000);

  // Fetches the page again and puts its content in place of ours, unless somebody is at work in it.
  function refresh(every) {
    setInterval(async () => {
      const busy = main.contains(document.activeElement) || !document.getSelection().isCollapsed;
      if (document.hidden || busy) return;
      try {
        const answer = await fetch(location.href, { cache: "no-cache" });
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        main.replaceChildren(...page.querySelector("main").childNodes);
        document.querySelector("footer").replaceChildren(...page.querySelector("footer").childNodes);
        document.title = page.title;
      } catch {
        // The next time it may be there again.
      }
    }, every);
  }

  function follow(address) {
    const at = (name) => document.querySelector(`[data-live="${name}"]`);
    const say = (name, text) => {
      const place = at(name);
      if (place && place.textContent !== text) place.textContent = text;
    };
    const events = new EventSource(address);
    events.onopen = () => say("connection", "Live.");
    events.onerror = () => say("connection", "The connection is lost; trying again.");
    events.addEventListener("progress", (event) => {
      const shown = JSON.parse(event.data).shown;
      for (const [name, text] of Object.entries(shown.texts)) say(name, text);
      document.title = document.title.replace(/^[^:]*/, shown.texts.headline);
      at("bar").setAttribute("aria-label", shown.bar_text);
      at("bar").replaceChildren(...shown.bar.map((part) => rect(part.class, part.x, part.width)));
      at("legend").replaceChildren(...shown.bar.map(legend));
      at("tiers").replaceChildren(...shown.tiers.map(([name, counts]) => row([name, ...counts])));
    });
    events.addEventListener("result", (event) => {
      const result = JSON.parse(event.data);
      at("newest-section").hidden = false;
      at("newest").prepend(row([result.crate, result.tier, result.verdict, result.agent]));
      while (at("newest").children.length > 20) at("newest").lastElementChild.remove();
    });
    events.addEventListener("end", () => {
      events.close();
      // By then the page that is kept for a moment is the last one.
      setTimeout(() => location.reload(), 3000);
    });
  }

  function svg(name, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function rect(kind, x, width) {
    return svg("rect", { class: kind, x, width, height: "10" });
  }

  function legend(part) {
    const item = document.createElement("li");
    const dot = svg("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" });
    dot.append(rect(part.class, "0", "10"));
    const count = document.createElement("b");
    count.textContent = part.count;
    item.append(dot, count, ` ${part.label}`);
    return item;
  }

  function row(cells) {
    const line = document.createElement("tr");
    cells.forEach((text, index) => {
      const cell = document.createElement(index === 0 ? "th" : "td");
      if (index === 0) cell.scope = "row";
      cell.textContent = text;
      line.append(cell);
    });
    return line;
  }
})();
