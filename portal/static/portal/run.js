/* The log of a run: after each refresh by live.js, new lines are fetched and appended. */
(() => {
    "use strict";

    const MOST = 3000; // lines kept on the page
    const PIECE = 500; // lines in one response of the server
    const NEAR = 40; // pixels from the end that count as being there

    function begin() {
        const log = document.querySelector("[data-log]");
        if (!log) {
            return;
        }
        log.scrollTop = log.scrollHeight;
        if (!log.dataset.logUrl) {
            return; // an older part of the log, which does not grow
        }
        const follow = document.querySelector("[data-log-follow]");
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
                let count = PIECE;
                while (count === PIECE) {
                    const response = await fetch(`${log.dataset.logUrl}&after=${log.dataset.logLast}`, {
                        credentials: "same-origin",
                        cache: "no-store",
                    });
                    if (!response.ok || response.redirected) {
                        return;
                    }
                    count = append(await response.text());
                }
            } catch {
                // live.js shows that the portal is not reachable
            } finally {
                isFetching = false;
            }
        }

        function append(text) {
            const page = new DOMParser().parseFromString(`<ol>${text}</ol>`, "text/html");
            const lines = [...page.querySelectorAll("li[data-pk]")];
            if (!lines.length) {
                return 0;
            }
            for (const line of lines) {
                log.append(document.importNode(line, true));
                log.dataset.logLast = Math.max(Number(log.dataset.logLast), Number(line.dataset.pk));
            }
            document.querySelector("[data-log-empty]").hidden = true;
            if (follow.checked) {
                while (log.children.length > MOST) {
                    log.firstElementChild.remove();
                }
                log.scrollTop = log.scrollHeight;
            }
            return lines.length;
        }

        document.addEventListener("portal:live", fetchNewLines);
    }

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
