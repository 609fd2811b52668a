// What keyboards, screen readers and phones need beyond the page itself: focus goes into what opens, and comes back;
// what scrolls is reached; tables become cards.
(() => {
    "use strict";

    const POPOVER = "details.portal-ask, details.portal-menu";
    const FIELD = "textarea, select, input:not([type=hidden]), button, a[href]";

    // Toggle events do not bubble: caught on their way down.
    document.addEventListener(
        "toggle",
        ({ target }) => {
            if (target.matches?.(POPOVER) && target.open && target.contains(document.activeElement)) {
                const first = [...target.querySelectorAll(FIELD)].find((each) => !each.closest("summary"));
                const nested = target.matches(".portal-menu") && target.querySelector(":scope > :not(summary) summary");
                (first || nested)?.focus({ preventScroll: true });
            }
            // One more row: its button goes, so the focus would be lost.
            if (target.matches?.(".portal-next") && target.open) {
                [...target.querySelectorAll(FIELD)].find((each) => !each.closest("summary"))?.focus();
            }
        },
        true,
    );

    document.addEventListener("keydown", (event) => {
        const open = event.key === "Escape" && event.target.closest?.(`:is(${POPOVER})[open]`);
        if (open) {
            open.open = false;
            open.querySelector("summary").focus();
            event.stopPropagation();
        }
    });

    // The tooltip of the dot in the header closes with Escape, until it is left.
    document.addEventListener("keydown", ({ key }) => {
        if (key === "Escape") {
            document.querySelector("[data-freshness]")?.setAttribute("data-dismissed", "");
        }
    });
    for (const name of ["focusout", "pointerout"]) {
        document.addEventListener(name, ({ target, relatedTarget }) => {
            const dot = target.closest?.("[data-freshness]");
            if (dot && !dot.contains(relatedTarget)) {
                dot.removeAttribute("data-dismissed");
            }
        });
    }

    // "g", then the letter of a page. The list of shortcuts has the links, and so only those that the reader has.
    const WRITABLE = "input, textarea, select, [contenteditable], dialog[open] *";
    const PATIENCE = 1500; // milliseconds for the second key
    let isGoing = false;
    let timer;

    document.addEventListener("keydown", (event) => {
        const wasGoing = isGoing;
        isGoing = false;
        clearTimeout(timer);
        if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest?.(WRITABLE)) {
            return;
        }
        const link = wasGoing && document.querySelector(`[data-go="${CSS.escape(event.key.toLowerCase())}"]`);
        if (link) {
            event.preventDefault();
            location.assign(link.href);
        } else if (event.key === "g") {
            isGoing = true;
            timer = setTimeout(() => (isGoing = false), PATIENCE);
        }
    });

    // A region that scrolls is reached by the keyboard, or what is cut off could not be read without a mouse.
    const REGIONS = ".portal-scroll, .portal-table-scroll, pre.portal-code, [data-scrolls]";

    function reach(region) {
        if (region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight) {
            region.tabIndex = 0;
        } else {
            region.removeAttribute("tabindex");
        }
    }

    const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => reach(target.closest(REGIONS))));

    // On a phone each row is a card, in which every cell names its column.
    function nameCells(table) {
        const heads = [...table.querySelectorAll(":scope > thead > tr:last-child > th")];
        if (!heads.length || heads.some((head) => head.colSpan > 1)) {
            return;
        }
        for (const row of table.querySelectorAll(":scope > tbody > tr")) {
            if (row.cells.length === heads.length) {
                heads.forEach((head, index) => (row.cells[index].dataset.label = head.textContent.replace(/\s+/g, " ").trim()));
            }
        }
        table.classList.add("is-cards");
    }

    function prepare() {
        for (const region of document.querySelectorAll(REGIONS)) {
            reach(region);
            sizes.observe(region);
            if (region.firstElementChild) {
                sizes.observe(region.firstElementChild);
            }
        }
        document.querySelectorAll("table.portal-table").forEach(nameCells);
    }

    function label(selector, name) {
        document.querySelector(selector)?.setAttribute("aria-label", name);
    }

    function begin() {
        // The theme's palette has an icon and a placeholder for names.
        label("#search-input-command", "Search");
        label("#command-submit", "Search");
        prepare();
    }

    document.addEventListener("portal:live", prepare);
    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
