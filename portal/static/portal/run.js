/* The page of a run. Its log: new lines are appended after each refresh by live.js, older and newer ones come in place. */
(() => {
    "use strict";

    const MOST = 3000; // lines kept on the page
    const PIECE = 500; // lines in one response of the server
    const NEAR = 40; // pixels from the end that count as being there

    /* Which part of the page is shown is decided in the styles; the row of parts says it to those who do not see it. */
    function markPart() {
        const parts = [...document.querySelectorAll(".portal-tab-row > a")];
        const shown = parts.find((part) => document.querySelector(part.hash)?.offsetParent) || parts[0];
        for (const part of parts) {
            part.setAttribute("aria-current", String(part === shown));
        }
    }

    /* The menu of rare acts closes with Escape and when something else is used, unless something is typed in it. */
    function closeMenu(event) {
        const menu = document.querySelector(".portal-menu[open]");
        if (!menu || (event.type === "keydown" ? event.key !== "Escape" : menu.contains(event.target))) {
            return;
        }
        if (event.type === "click" && [...menu.querySelectorAll("textarea, input[type=text]")].some((field) => field.value)) {
            return;
        }
        menu.open = false;
        if (event.type === "keydown") {
            menu.querySelector("summary").focus();
        }
    }

    function begin() {
        markPart();
        window.addEventListener("hashchange", markPart);
        document.addEventListener("portal:live", markPart);
        document.addEventListener("click", closeMenu);
        document.addEventListener("keydown", closeMenu);
        const log = document.querySelector("[data-log]");
        if (log) {
            beginLog(log);
        }
    }

    function beginLog(log) {
        const follow = document.querySelector("[data-log-follow]");
        const level = document.querySelector("[data-log-level]");
        level.addEventListener("change", () => level.form.requestSubmit());

        const target = document.getElementById(log.dataset.logTarget || "");
        let isPlaced = false;
        function place() {
            if (isPlaced || !log.offsetParent) {
                return; // not shown yet: it has no height to scroll in
            }
            isPlaced = true;
            if (target) {
                // Within the log alone: the top of the page says why the run failed.
                log.scrollTop = target.offsetTop - log.offsetTop - log.clientHeight / 3;
            } else if ("logIsTail" in log.dataset) {
                log.scrollTop = log.scrollHeight;
            }
        }
        place();
        window.addEventListener("hashchange", place);

        async function fetchLines(place) {
            const response = await fetch(`${log.dataset.logPart}&${place}`, {
                credentials: "same-origin",
                cache: "no-store",
            });
            if (!response.ok || response.redirected) {
                throw new Error(String(response.status));
            }
            const page = new DOMParser().parseFromString(`<ol>${await response.text()}</ol>`, "text/html");
            return [...page.querySelectorAll("li[data-pk]")].map((line) => document.importNode(line, true));
        }

        /* A link that loads the neighbouring lines instead of another page; without scripts it is an ordinary link. */
        function loadsInPlace(link, add) {
            link?.addEventListener("click", async (event) => {
                event.preventDefault();
                link.setAttribute("aria-busy", "true");
                try {
                    if ((await add()) < PIECE) {
                        link.closest("p").remove();
                    }
                } catch {
                    window.location.assign(link.href);
                } finally {
                    link.removeAttribute("aria-busy");
                }
            });
        }

        loadsInPlace(document.querySelector("[data-log-older]"), async () => {
            const lines = await fetchLines(`before=${log.firstElementChild.dataset.pk}`);
            // What is read stays where it is.
            const fromEnd = log.scrollHeight - log.scrollTop;
            log.prepend(...lines);
            log.scrollTop = log.scrollHeight - fromEnd;
            return lines.length;
        });
        loadsInPlace(document.querySelector("[data-log-newer]"), async () => {
            const lines = await fetchLines(`newer=${log.lastElementChild.dataset.pk}`);
            log.append(...lines);
            return lines.length;
        });

        if (!follow) {
            return; // not the end of the log: what is added does not belong here
        }
        follow.closest("label").hidden = false;
        follow.addEventListener("change", () => {
            if (follow.checked) {
                log.scrollTop = log.scrollHeight;
            }
        });
        // Scrolling back stops following; scrolling to the end resumes it.
        log.addEventListener("scroll", () => {
            follow.checked = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
        });

        let isFetching = false;
        async function fetchNewLines() {
            if (isFetching) {
                return;
            }
            isFetching = true;
            try {
                let lines = [];
                do {
                    lines = await fetchLines(`after=${log.dataset.logLast}`);
                    append(lines);
                } while (lines.length === PIECE);
            } catch {
                // live.js shows that the portal is not reachable
            } finally {
                isFetching = false;
            }
        }

        function append(lines) {
            if (!lines.length) {
                return;
            }
            log.append(...lines);
            log.dataset.logLast = Math.max(Number(log.dataset.logLast), ...lines.map((line) => Number(line.dataset.pk)));
            document.querySelector("[data-log-empty]").hidden = true;
            if (follow.checked) {
                while (log.children.length > MOST) {
                    log.firstElementChild.remove();
                }
                log.scrollTop = log.scrollHeight;
            }
        }

        document.addEventListener("portal:live", fetchNewLines);
    }

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
