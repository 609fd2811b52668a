/* The run form: rows of a list are added and removed in place (without this script the same buttons send the form), and
   the choices of inputs with thousands of them are fetched while typing (without it they are typed in full). */
(() => {
    "use strict";

    const status = document.querySelector("[data-form-status]");

    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-row-add], [data-row-remove]");
        if (!button) {
            return;
        }
        event.preventDefault();
        if (button.matches("[data-row-remove]")) {
            remove(button.closest("[data-row]"));
        } else {
            add(button);
        }
    });

    function remove(row) {
        const rows = row.closest("[data-rows]");
        const next = row.nextElementSibling ?? row.previousElementSibling;
        status.textContent = `${row.dataset.row} removed.`;
        row.remove();
        const buttons = next ? [...next.querySelectorAll("[data-row-remove]")] : [];
        // The last one: lists within the row have buttons too. `null` after the last free place was taken.
        (buttons.at(-1) ?? rows.querySelector("[data-row-add]"))?.focus();
    }

    /* The server renders the row, as it does without the script; only the new row is taken from its page. */
    async function add(button) {
        if (button.ariaBusy === "true") {
            return;
        }
        button.ariaBusy = "true";
        const rows = button.closest("[data-rows]");
        let row = null;
        try {
            const body = new FormData(button.form, button);
            const response = await fetch(button.form.action, { method: "POST", body, credentials: "same-origin" });
            const page = new DOMParser().parseFromString(await response.text(), "text/html");
            row = page.getElementById(rows.id)?.querySelector(":scope > [data-rows-list] > [data-row-added]");
        } catch {
            // answered below like any other failure
        }
        button.ariaBusy = "false";
        if (!row) {
            send(button); // signed out, too many rows, no network: the page that follows says which
            return;
        }
        row = document.importNode(row, true);
        rows.querySelector(":scope > [data-rows-list]").append(row);
        status.textContent = `${row.dataset.row} added.`;
        row.querySelector("input:not([type=hidden]), textarea, select, button")?.focus();
    }

    let waiting = 0;
    let fetching = new AbortController();

    document.addEventListener("input", (event) => {
        const input = event.target.closest("[data-choices]");
        // Not where a choice was picked from the list: that needs no other.
        if (input && event instanceof InputEvent && event.inputType !== "insertReplacementText") {
            clearTimeout(waiting);
            waiting = setTimeout(() => search(input), 200);
        }
    });

    async function search(input) {
        fetching.abort();
        fetching = new AbortController();
        const url = new URL(input.form.dataset.choicesUrl, location.href);
        url.searchParams.set("name", input.dataset.choices);
        url.searchParams.set("term", input.value);
        try {
            const response = await fetch(url, { credentials: "same-origin", signal: fetching.signal });
            const { choices } = await response.json();
            input.list.replaceChildren(
                ...choices.map((value) => Object.assign(document.createElement("option"), { value })),
            );
        } catch {
            // the list stays as it was; what is typed is judged when the form is sent
        }
    }

    function send(button) {
        const pressed = Object.assign(document.createElement("input"), {
            type: "hidden",
            name: button.name,
            value: button.value,
        });
        button.form.append(pressed);
        button.form.submit();
    }
})();
