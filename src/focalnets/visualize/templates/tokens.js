{
  const root = document.currentScript.closest(".read-tokens"), find = (name) => root.querySelector(name);
  const data = JSON.parse(find("script[type='application/json']").textContent);
  const view = find(".view"), block = find(".block"), tokens = [...find(".tokens").children];
  const [faintest, strongest] = data.opacity, opacity = (strength) => faintest + (strongest - faintest) * strength;
  const chosen = () => data.blocks.length ? data.blocks[block.value] : null;
  const digits = (value) => String(Number(value.toPrecision(3)));
  function words(place) {
    const lines = [`${data.unit} ${place + 1}: ${data.names[place]}`], from = chosen();
    if (data.surprise && data.surprise.values[place] !== null) {
      const [piece, probability] = data.guesses[place];
      lines.push(`surprise ${data.surprise.values[place].toFixed(2)} nats; likeliest ${piece} ` +
        `(${(100 * probability).toFixed(0)} %)`);
    }
    if (from) {
      lines.push("takes " + data.levels.map((name, level) => `${(from.shares[place][level] / 10).toFixed(0)} % ${name}`).join(", "));
      lines.push(`modulator ${digits(from.modulator[place])}, ${from.name}`);
    }
    return lines.join("\n");
  }
  function show() {
    const from = chosen(), byLevel = view.value === "levels";
    find(".levels").hidden = !byLevel;
    find(".ends").hidden = byLevel;
    if (block) block.parentElement.hidden = view.value === "surprise";
    const scale = byLevel ? null : view.value === "surprise" ? data.surprise :
      { values: from.modulator, low: from.low, high: from.high };
    if (scale) {
      find(".low").textContent = digits(scale.low);
      find(".high").textContent = digits(scale.high) + (view.value === "surprise" ? " nats" : "");
    }
    tokens.forEach((token, place) => {
      let strength = 0;
      if (byLevel) {
        const shares = from.shares[place], level = shares.indexOf(Math.max(...shares)), even = 1 / shares.length;
        token.className = "l" + level % data.colours;
        strength = shares.length > 1 ? (shares[level] / 1000 - even) / (1 - even) : 1;
      } else {
        token.className = "scale";
        const value = scale.values[place];
        strength = value === null ? 0 : (value - scale.low) / (scale.high - scale.low);
      }
      token.style.setProperty("--s", opacity(Math.min(1, Math.max(0, strength))).toFixed(2));
    });
  }
  let marked = null;
  function tell(event) {
    const place = tokens.indexOf(event.target);
    if (place < 0) return;
    tokens[place].title = find(".figures").textContent = words(place);
    if (event.type === "click") {
      if (marked) marked.classList.remove("chosen");
      marked = tokens[place];
      marked.classList.add("chosen");
    }
  }
  for (const each of [view, block]) if (each) each.addEventListener("change", show);
  for (const name of ["pointerover", "click"]) find(".tokens").addEventListener(name, tell);
}
