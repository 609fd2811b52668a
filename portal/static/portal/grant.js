/* The examples of the grant form: a click writes one into the input that it belongs to. */
(() => {
    "use strict";

    for (const button of document.querySelectorAll("[data-example]")) {
        button.hidden = false;
        button.addEventListener("click", () => {
            const input = document.getElementById(button.dataset.example);
            input.value = JSON.stringify(JSON.parse(button.parentElement.querySelector("code").textContent), null, 2);
            input.focus();
        });
    }
})();
