/* The run form: rows and choices are added to lists in place (without this script the same buttons send the form), and
   the choices of inputs with thousands of them are fetched while typing (without it they are typed in full); presets are
   saved and links made in place (without it the page is loaded again, and secrets have to be typed again); what an
   earlier run had is shown beside a field as soon as it is edited. */
(() => {
    "use strict";

    const status = document.querySelector("[data-form-status]");

    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-row-add], [data-row-remove], [data-choice-add], [data-in-place]");
        if (!button) {
            return;
        }
        event.preventDefault();
        if (button.matches("[data-in-place]")) {
            keep(button);
        } else if (button.matches("[data-row-remove]")) {
            remove(button.closest("[data-row]"));
        } else if (button.matches("[data-row-add]")) {
            add(button);
        } else {
            addChoice(button);
        }
    });

    // Enter in the search of a list adds what was found instead of sending the form.
    document.addEventListener("keydown", (event) => {
        const button = event.key === "Enter" && event.target.closest(".portal-finder")?.querySelector("[data-choice-add]");
        if (button && event.target.matches("input")) {
            event.preventDefault();
            addChoice(button);
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

    /* The server renders what is added, as it does without the script; only that is taken from its page. */
    async function answer(button) {
        if (button.ariaBusy === "true") {
            return null;
        }
        button.ariaBusy = "true";
        try {
            const body = new FormData(button.form, button);
            // `formAction` of a button without one is the address of the page, not that of the form.
            const address = button.hasAttribute("formaction") ? button.formAction : button.form.action;
            const response = await fetch(address, { method: "POST", body, credentials: "same-origin" });
            return new DOMParser().parseFromString(await response.text(), "text/html");
        } catch {
            return document.implementation.createHTMLDocument();
        } finally {
            button.ariaBusy = "false";
        }
    }

    async function add(button) {
        const rows = button.closest("[data-rows]");
        const page = await answer(button);
        let row = page?.getElementById(rows.id)?.querySelector(":scope > [data-rows-list] > [data-row-added]");
        if (!row) {
            leave(page, button);
            return;
        }
        row = document.importNode(row, true);
        rows.querySelector(":scope > [data-rows-list]").append(row);
        status.textContent = `${row.dataset.row} added.`;
        row.querySelector("input:not([type=hidden]), textarea, select, button")?.focus();
    }

    async function addChoice(button) {
        const field = button.closest(".portal-field");
        const search = field.querySelector(".portal-finder input");
        if (!search.value.trim()) {
            search.focus();
            return;
        }
        const page = await answer(button);
        let fresh = page?.getElementById(field.id);
        if (!fresh) {
            leave(page, button);
            return;
        }
        fresh = document.importNode(fresh, true);
        field.replaceWith(fresh);
        status.textContent = fresh.querySelector("[data-found]")?.textContent ?? "";
        fresh.querySelector(".portal-finder input").focus();
    }

    /* Save a preset or make a link: only the answer is taken from the page, what was typed stays. */
    async function keep(button) {
        const page = await answer(button);
        if (!page) {
            return;
        }
        const [main, ...others] = button.dataset.inPlace.split(" ");
        if (!page.getElementById(main)) {
            button.form.requestSubmit(button); // signed out, no network: the page that follows says which
            return;
        }
        for (const id of [main, ...others]) {
            document.getElementById(id).replaceWith(document.importNode(page.getElementById(id), true));
        }
        const link = document.querySelector("[data-copied-text]");
        const name = link ? "link" : "preset-name";
        document.getElementById(name)?.focus();
        if (link && button.formAction.includes("/link/")) {
            link.select();
            try {
                await navigator.clipboard.writeText(link.value);
                status.textContent = "Link copied.";
            } catch {
                // without HTTPS a browser has no clipboard for pages: the text is selected instead
            }
        }
    }

    /* What an earlier run had, as soon as its field is edited. */
    document.addEventListener("input", (event) => {
        const note = event.target.closest(".portal-parameters > div")?.querySelector(":scope > [data-earlier=same]");
        if (note) {
            note.hidden = ![...note.parentElement.querySelectorAll("input, textarea, select")].some(isEdited);
        }
    });

    function isEdited(input) {
        if (input.matches("[type=checkbox], [type=radio]")) {
            return input.checked !== input.defaultChecked;
        }
        if (input.matches("select")) {
            return [...input.options].some((each) => each.selected !== each.defaultSelected);
        }
        return input.value !== input.defaultValue;
    }

    function leave(page, button) {
        if (page) {
            send(button); // signed out, too many rows, no network: the page that follows says which
        }
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

    /* The first field has the focus, unless an error or a link claims it. On a touch screen a keyboard would cover the page. */
    const isClaimed = location.hash || document.querySelector("[autofocus], [data-error], [aria-invalid=true]");
    if (!isClaimed && document.activeElement === document.body && matchMedia("(pointer: fine)").matches) {
        const fields = document.querySelectorAll(".portal-parameters :is(input, select, textarea):not([type=hidden])");
        [...fields].find((field) => field.offsetParent && !field.disabled)?.focus({ preventScroll: true });
    }
})();
