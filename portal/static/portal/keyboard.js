// What the keyboard and a screen reader need beyond the page itself: focus goes into what opens, and comes back.
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

    // A region that scrolls is reached by the keyboard, or what is cut off could not be read without a mouse.
    const REGIONS = ".portal-scroll, .portal-table-scroll, pre.portal-code, [data-scrolls]";

    function reach() {
        for (const region of document.querySelectorAll(REGIONS)) {
            const isCut = region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight;
            if (isCut) {
                region.tabIndex = 0;
            } else {
                region.removeAttribute("tabindex");
            }
        }
    }

    function label(selector, name) {
        document.querySelector(selector)?.setAttribute("aria-label", name);
    }

    function begin() {
        // The theme's palette has an icon and a placeholder for names.
        label("#search-input-command", "Search");
        label("#command-submit", "Search");
        reach();
    }

    window.addEventListener("resize", reach);
    document.addEventListener("portal:live", reach);
    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
