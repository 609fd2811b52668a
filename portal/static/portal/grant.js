/* The examples of the grant form: a click writes one into the input that it belongs to. */
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
