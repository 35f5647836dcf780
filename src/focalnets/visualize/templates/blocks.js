const blocks = JSON.parse(document.getElementById("blocks").textContent);
const slider = document.getElementById("block"), strength = document.getElementById("strength");
const photo = document.getElementById("photo").src;
function layers(figure, map) {
  const box = figure.appendChild(document.createElement("div"));
  box.className = "layers";
  const below = box.appendChild(new Image()), above = box.appendChild(new Image());
  below.src = photo; below.alt = ""; below.className = "photo";
  above.src = map.picture; above.alt = map.name; above.className = "map"; above.style.opacity = strength.value / 100;
}
function show() {
  const block = blocks[slider.value], holder = document.getElementById("maps");
  document.getElementById("name").textContent = block.name;
  slider.setAttribute("aria-valuetext", block.name);
  document.getElementById("low").textContent = block.low;
  document.getElementById("high").textContent = block.high;
  document.getElementById("minus").textContent = "-" + block.reach;
  document.getElementById("plus").textContent = block.reach;
  holder.replaceChildren();
  for (const map of block.maps) {
    const figure = holder.appendChild(document.createElement("figure"));
    layers(figure, map);
    figure.appendChild(document.createElement("figcaption")).textContent = map.name;
  }
}
function fade() {
  for (const map of document.querySelectorAll("#maps img.map")) map.style.opacity = strength.value / 100;
}
slider.addEventListener("input", show);
strength.addEventListener("input", fade);
show(); fade();
