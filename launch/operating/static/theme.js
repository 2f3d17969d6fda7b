// The theme that was chosen on this device, before anything is drawn.
{
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* a browser that keeps nothing */ }
  if (chosen) document.documentElement.dataset.theme = chosen;
}
