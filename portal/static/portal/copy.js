/* Buttons that copy the text of an element; without a script people select it themselves. */
(() => {
    "use strict";

    for (const button of document.querySelectorAll("[data-copy]")) {
        button.hidden = false;
        button.addEventListener("click", async () => {
            const source = document.getElementById(button.dataset.copy);
            try {
                await navigator.clipboard.writeText(source.textContent);
                const label = button.querySelector("[data-copied]");
                label.textContent = label.dataset.copied;
            } catch {
                // Without HTTPS a browser has no clipboard for pages: the text is selected instead.
                getSelection().selectAllChildren(source);
            }
        });
    }
})();
