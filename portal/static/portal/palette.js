/*
 * The command palette before a search: pinned deployments and what was visited last.
 *
 * The browser keeps the keys of the last deployments and runs, and whose they are: no names. The server says what of them
 * the reader may see. Signing out forgets them, and so does every page for which one need not be signed in.
 */
(() => {
    "use strict";

    const STORE = "portal-visited";
    const MOST = 8;
    const user = document.querySelector('meta[name="portal-user"]')?.content || "";

    // A browser can forbid storage: the palette then offers no visited pages.
    function visited() {
        try {
            const stored = JSON.parse(localStorage.getItem(STORE));
            return stored?.user === user && Array.isArray(stored.keys) ? stored.keys : [];
        } catch {
            return [];
        }
    }

    function store(keys) {
        try {
            localStorage.setItem(STORE, JSON.stringify({ user, keys }));
        } catch {
            // Nothing depends on it.
        }
    }

    function forget() {
        try {
            localStorage.removeItem(STORE);
        } catch {
            // Nothing was stored.
        }
    }

    if (!user) {
        forget();
        return;
    }

    const own = document.querySelector('meta[name="portal-visited"]')?.content;
    if (own) {
        store([own, ...visited().filter((key) => key !== own)].slice(0, MOST));
    } else if (!visited().length) {
        // What another user left.
        forget();
    }

    document.addEventListener("submit", ({ target }) => {
        if (target.id === "logout-form") {
            forget();
        }
    });

    document.addEventListener("htmx:configRequest", ({ detail, target }) => {
        if (target.id === "search-input-command" && !target.value.trim()) {
            detail.parameters.append("visited", visited().join(","));
        }
    });

    document.addEventListener("focusin", ({ target }) => {
        if (target.id === "search-input-command" && !target.value.trim()) {
            htmx.ajax("GET", target.getAttribute("hx-get"), { source: target, target: "#command-results", select: "#command-results-list" });
        }
    });
})();
