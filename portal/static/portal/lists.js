/*
 * The row of filters: a choice is applied at once, a set of check boxes when its menu closes. Without this script, the
 * buttons "Apply" do the same.
 */
(() => {
    "use strict";

    const rows = [...document.querySelectorAll(".portal-filter-row")];

    function send(form) {
        // Fields without a value would only make the address longer.
        for (const field of form.elements) {
            if (field.name && !field.value) {
                field.disabled = true;
            }
        }
        form.requestSubmit();
    }

    for (const form of rows) {
        form.querySelector("[data-apply]").hidden = true;
        form.addEventListener("submit", () => {
            for (const field of form.elements) {
                field.disabled ||= Boolean(field.name) && !field.value;
            }
        });
        form.addEventListener("change", (event) => {
            if (event.target.matches("select, input[type=date], input[type=text]")) {
                send(form);
            }
        });
        for (const menu of form.querySelectorAll("details.portal-drop")) {
            const state = () => [...menu.querySelectorAll("input")].map((box) => box.checked).join();
            let before = state();
            menu.addEventListener("toggle", () => {
                if (menu.open) {
                    before = state();
                } else if (state() !== before) {
                    send(form);
                }
            });
        }
    }

    // A menu closes by Escape, by a click beside it, and when another one opens.
    document.addEventListener("keydown", (event) => {
        const open = event.key === "Escape" && event.target.closest("details.portal-drop[open]");
        if (open) {
            open.open = false;
            open.querySelector("summary").focus();
        }
    });
    document.addEventListener("click", (event) => {
        for (const menu of document.querySelectorAll("details.portal-drop[open]")) {
            if (!menu.contains(event.target)) {
                menu.open = false;
            }
        }
    });

    // Back to a page from the browser's memory: its fields work again.
    window.addEventListener("pageshow", () => {
        for (const form of rows) {
            for (const field of form.elements) {
                field.disabled = false;
            }
        }
    });
})();
