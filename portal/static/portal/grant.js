/* The examples of the grant form: a click copies one into its input. */
(() => {
    "use strict";

    for (const button of document.querySelectorAll("[data-example]")) {
        button.hidden = false;
        button.addEventListener("click", () => {
            const input = document.getElementById(button.dataset.example);
            input.value = button.parentElement.querySelector("code").textContent;
            input.focus();
        });
    }
})();
