// A button copies the code beside it; where the browser forbids that, the code is selected, and Ctrl-C copies it.
const said = document.getElementById("said");

function select(code) {
  const range = document.createRange();
  range.selectNodeContents(code);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    select(code);
    return document.execCommand("copy"); // of pages that are opened from a file some browsers allow only this
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  const name = button.textContent;
  button.addEventListener("click", async () => {
    const done = await copy(button.parentElement.querySelector("code"));
    button.textContent = done ? "copied" : "press Ctrl-C";
    said.textContent = done ? "The command is copied." : "The command is selected; Ctrl-C copies it.";
    setTimeout(() => { button.textContent = name; }, 2000);
  });
}
