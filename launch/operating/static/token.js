// Asks for the token, and opens the page with it. A token behind # in the address never reaches a server's log.
const field = document.getElementById("token");

async function open(token) {
  const answer = await fetch("/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  if (answer.ok) location.replace("/");
  else document.getElementById("refused").textContent = (await answer.json()).refused;
}

document.getElementById("door").addEventListener("submit", (event) => {
  event.preventDefault();
  open(field.value.trim());
});
if (location.hash.length > 1) open(location.hash.slice(1));
