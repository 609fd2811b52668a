/*
 * Updates an open page.
 *
 * Usage in a page:
 *
 *   {% include "portal/_live.html" with topics="run=12" poll=5 %}
 *       Declares what the page shows. Whether updates arrive is said by the dot in the header, [data-freshness], and in
 *       words beside it only when they do not. `topics` is the query string of /admin/live/:
 *       run=PK, request=PK, list=runs, list=requests, joined by "&"; empty for a page that is only polled.
 *       `poll` is the number of seconds between two refreshes without a stream (10 when left out).
 *
 *   <section data-live="states"> … </section>
 *       A region. When something changed, the page's own address is fetched (with the header X-Portal-Live: 1) and
 *       every region is made equal to the one of that name in the response. Render a region even when it is empty: one that
 *       is missing from the new page is left alone. Regions may not be nested.
 *
 * Inside a region:
 *   data-key="…" or an id      identifies a row, so that it stays the same element when others are added or removed. The rows of a
 *                              change list are known by their check box.
 *   data-live-keep             this element and its content are never changed (another script manages them).
 *   data-live-own              in a row that is sent to all readers: what depends on the reader, which stays as the page has it.
 *   a form in use              keeps its whole region from being updated: while the focus is in it, a field was changed,
 *                              or the <details> around it is open. If the new page has no <details> of that data-key, the
 *                              form cannot be sent any more, and says so; what was typed stays.
 *   check boxes, focus, scroll positions and open <details> stay as they are.
 *
 * In the headline:
 *   data-live-state="…"        the state that the page is about. When it changes, messages of success at the top
 *                              are removed, because they speak of the state before.
 *
 * <time data-ago datetime="…"> and <span data-elapsed="ISO time"> are counted up between two refreshes.
 *
 * [data-inbox] in the header has the number of unread messages, also in the title. It is counted on by the stream, which a page
 * without other topics opens for it alone. A page with [data-inbox-list] is refreshed with it.
 *
 * After each refresh the document gets the event "portal:live".
 */
(() => {
    "use strict";

    const DEBOUNCE = 250;
    // Milliseconds between two refreshes, at least. A list changes with every run, and many users have one open.
    const MIN_INTERVAL = 800;
    const MIN_LIST_INTERVAL = 3000;
    const SLOWEST_WITH_STREAM = 30000; // the age of the data and the status of environments send no events
    const SLOWEST_WITH_ROWS = 120000; // the rows come by themselves
    const SENTENCES = {
        connecting: "Connecting for updates.",
        live: "This page updates itself.",
        polling: "This page checks for updates every few seconds.",
        offline: "The portal is not reachable. Retrying.",
        ended: "You are signed out or no longer have access. Reload the page.",
    };
    // Beside the dot, when the page has stopped.
    const LABELS = { offline: "Offline", ended: "Not updating" };

    const MOST_COUNTED = 99;
    const RETRY_STREAM = 60000;

    let mark, bell, stream, timer, soon, controller, knownState;
    let lastRefresh = 0;
    let isStreaming = false;
    let isLeaving = false;
    let hasEnded = false;

    function say(state) {
        const dot = mark && document.querySelector("[data-freshness]");
        if (dot && dot.dataset.state !== state) {
            dot.dataset.state = state;
            dot.hidden = false;
            const label = dot.querySelector("[data-live-label]");
            label.textContent = LABELS[state] || "";
            label.title = SENTENCES[state];
        }
        // The tooltip can have come with a refresh.
        for (const status of dot?.querySelectorAll("[data-live-status]") || []) {
            write(status, SENTENCES[state]);
        }
    }

    function listen() {
        // A list whose rows are sent says for which filters.
        const own = document.querySelector("[data-live-rows]")?.dataset.liveRows || mark?.dataset.liveTopics;
        const topics = [own, bell ? "inbox=1" : ""].filter(Boolean).join("&");
        if (!topics || !window.EventSource || stream) {
            return;
        }
        stream = new EventSource(`${(mark || bell).dataset.liveUrl}?${topics}`);
        stream.addEventListener("inbox", (event) => countUnread(JSON.parse(event.data).unread));
        if (!own) {
            stream.addEventListener("end", mute);
            stream.addEventListener("error", () => {
                if (stream && stream.readyState === EventSource.CLOSED) {
                    stream = null;
                    setTimeout(wake, RETRY_STREAM);
                }
            });
            return;
        }
        stream.addEventListener("ready", () => {
            isStreaming = true;
            say("live");
            refreshSoon(); // something may have changed between the page and its stream
        });
        stream.addEventListener("nudge", refreshSoon);
        stream.addEventListener("rows", (event) => placeRows(JSON.parse(event.data)));
        stream.addEventListener("end", () => {
            mute();
            refresh();
        });
        stream.addEventListener("error", () => {
            isStreaming = false;
            say("polling");
            if (stream && stream.readyState === EventSource.CLOSED) {
                stream = null; // it was refused; the next refresh tells why
            }
            plan();
        });
    }

    function mute() {
        if (stream) {
            stream.close();
        }
        stream = null;
        isStreaming = false;
    }

    function plan() {
        clearTimeout(timer);
        if (!mark || document.hidden || isLeaving || hasEnded) {
            return;
        }
        const seconds = Number(mark.dataset.livePoll) || 10;
        const slowest = document.querySelector("[data-live-rows]:not([data-live-partial])") ? SLOWEST_WITH_ROWS : SLOWEST_WITH_STREAM;
        timer = setTimeout(refresh, isStreaming ? Math.max(slowest, seconds * 1000) : seconds * 1000);
    }

    function refreshSoon() {
        if (!soon) {
            const least = mark.dataset.liveTopics.includes("list=") ? MIN_LIST_INTERVAL : MIN_INTERVAL;
            soon = setTimeout(refresh, Math.max(DEBOUNCE, lastRefresh + least - Date.now()));
        }
    }

    async function refresh() {
        clearTimeout(soon);
        soon = null;
        if (!mark || document.hidden || isLeaving || hasEnded) {
            return;
        }
        lastRefresh = Date.now();
        controller?.abort();
        const own = (controller = new AbortController());
        try {
            const response = await fetch(location.href, {
                headers: { "X-Portal-Live": "1" },
                credentials: "same-origin",
                cache: "no-store",
                signal: own.signal,
            });
            // A redirect leads to the sign-in page: the session has ended.
            if (response.redirected || response.status === 403 || response.status === 404) {
                hasEnded = true;
                mute();
                say("ended");
                return;
            }
            if (!response.ok) {
                throw new Error(response.status);
            }
            const text = await response.text();
            if (own.signal.aborted || isLeaving) {
                return;
            }
            const page = new DOMParser().parseFromString(text, "text/html");
            show(page);
            followRun();
            say(isStreaming ? "live" : "polling");
            listen();
        } catch (error) {
            if (error.name !== "AbortError") {
                say("offline");
            }
        }
        if (own === controller) {
            plan();
        }
    }

    // After a run was requested: its page, as soon as there is one, unless the reader has begun to do something here.
    function followRun() {
        const run = document.querySelector("a[data-live-follow]");
        if (run && !document.querySelector("details[open] form")) {
            leave();
            location.replace(run.href);
        }
    }

    function show(page) {
        for (const region of document.querySelectorAll("[data-live]")) {
            const twin = page.querySelector(`[data-live="${CSS.escape(region.dataset.live)}"]`);
            if (twin && isBusy(region)) {
                closeActs(region, twin);
            } else if (twin) {
                become(region, twin);
            }
        }
        dropMessages();
        showTitle();
        countChecked();
        tick();
        document.dispatchEvent(new CustomEvent("portal:live"));
    }

    // --- What the page says that the state has overtaken

    function closeActs(region, page) {
        const offered = new Set([...page.querySelectorAll("details[data-key]")].map((act) => act.dataset.key));
        for (const act of region.querySelectorAll("details[open][data-key]")) {
            const form = act.querySelector(":scope > form");
            if (form) {
                closeAct(act, form, !offered.has(act.dataset.key));
            }
        }
    }

    function closeAct(act, form, isOver) {
        const note = form.querySelector("[data-over]");
        if (isOver === Boolean(note)) {
            return;
        }
        for (const button of form.querySelectorAll("button")) {
            button.disabled = isOver;
        }
        if (note) {
            note.remove();
            return;
        }
        const text = document.createElement("p");
        text.dataset.over = "";
        text.className = "portal-help";
        text.setAttribute("role", "status");
        text.textContent = "No longer possible: the state has changed.";
        form.append(text);
        act.addEventListener("toggle", refreshSoon, { once: true });
    }

    function dropMessages() {
        const state = document.querySelector("[data-live-state]")?.dataset.liveState;
        if (state !== knownState) {
            knownState = state;
            // What the theme makes of messages of success and information.
            for (const message of document.querySelectorAll("[data-messages] li:has(> .bg-green-100, > .bg-blue-100)")) {
                message.remove();
            }
        }
    }

    // --- Unread messages

    function countUnread(number) {
        const text = number > MOST_COUNTED ? `${MOST_COUNTED}+` : String(number);
        const count = bell.querySelector("[data-inbox-count]");
        if (count.textContent === text) {
            return;
        }
        count.textContent = text;
        count.hidden = number === 0;
        bell.ariaLabel = number ? `Notifications, ${text} unread` : "Notifications";
        showTitle();
        if (mark && document.querySelector("[data-inbox-list]")) {
            refreshSoon();
        }
    }

    function showTitle() {
        const count = bell?.querySelector("[data-inbox-count]");
        const bare = document.title.replace(/^\(\d+\+?\) /, "");
        document.title = count && !count.hidden ? `(${count.textContent}) ${bare}` : bare;
    }

    // --- Making one element equal to another, without replacing equal parts

    function isBusy(region) {
        const typing = "textarea, select, input:not([type=checkbox]):not([type=hidden]):not([type=submit])";
        if (region.contains(document.activeElement) && document.activeElement.matches(typing)) {
            return true;
        }
        if (region.querySelector("details[open] form")) {
            return true;
        }
        return [...region.querySelectorAll(typing)].some(isChanged);
    }

    function isChanged(field) {
        if (field.localName !== "select") {
            return field.value !== field.defaultValue;
        }
        const first = [...field.options].findIndex((option) => option.defaultSelected);
        return field.selectedIndex !== Math.max(first, 0);
    }

    function keyOf(node) {
        if (node.nodeType !== Node.ELEMENT_NODE) {
            return "";
        }
        return (
            node.id ||
            node.dataset.key ||
            node.querySelector(":scope > tr > td > input.action-select")?.value ||
            ""
        );
    }

    function become(old, wanted) {
        if (old.isEqualNode(wanted) || old.dataset?.liveKeep !== undefined || wanted.dataset?.liveOwn !== undefined) {
            return;
        }
        if (old.nodeType !== Node.ELEMENT_NODE) {
            old.nodeValue = wanted.nodeValue;
            return;
        }
        if (old.namespaceURI === "http://www.w3.org/2000/svg") {
            old.replaceWith(document.importNode(wanted, true));
            return;
        }
        copyAttributes(old, wanted);
        if (!old.matches("input, textarea, select")) {
            copyChildren(old, wanted);
        }
    }

    function copyAttributes(old, wanted) {
        // The theme's scripts write class and style where they have bound something.
        const bound = [...old.attributes].some(({ name }) => /^(x-|@|:)/.test(name));
        const isManaged = (name) =>
            (old.localName === "details" && name === "open") || (bound && (name === "class" || name === "style"));
        for (const { name } of [...old.attributes]) {
            if (!wanted.hasAttribute(name) && !isManaged(name)) {
                old.removeAttribute(name);
            }
        }
        for (const { name, value } of wanted.attributes) {
            if (old.getAttribute(name) !== value && !isManaged(name) && !name.startsWith("x-cloak")) {
                old.setAttribute(name, value);
            }
        }
    }

    function copyChildren(old, wanted) {
        const known = new Map();
        for (const child of old.children) {
            if (keyOf(child)) {
                known.set(keyOf(child), child);
            }
        }
        let place = old.firstChild;
        for (const model of wanted.childNodes) {
            const key = keyOf(model);
            let child = key ? known.get(key) : place;
            if (!child || child.nodeName !== model.nodeName || keyOf(child) !== key) {
                old.insertBefore(document.importNode(model, true), place);
                continue;
            }
            if (child === place) {
                place = place.nextSibling;
            } else {
                old.insertBefore(child, place);
            }
            become(child, model);
        }
        while (place) {
            const next = place.nextSibling;
            place.remove();
            place = next;
        }
    }

    // --- Rows of a list, as the stream sends them: the same for all readers

    function placeRows({ rows, gone }) {
        const table = document.querySelector("#result_list[data-live-rows]");
        if (!table) {
            refreshSoon(); // the list was empty
            return;
        }
        const known = new Map([...table.tBodies].map((body) => [body.dataset.key, body]));
        for (const key of gone) {
            known.get(String(key))?.remove();
        }
        for (const { key, html } of rows) {
            const body = bodyOf(html, table);
            const old = known.get(String(key));
            if (old) {
                become(old, body);
            } else if (table.dataset.liveFirst) {
                insertByTime(table, body);
            }
        }
        while (table.dataset.liveFirst && table.tBodies.length > Number(table.dataset.liveFirst)) {
            table.tBodies[table.tBodies.length - 1].remove();
        }
        countChecked();
        tick();
        document.dispatchEvent(new CustomEvent("portal:live"));
    }

    function bodyOf(html, table) {
        const holder = document.createElement("table");
        holder.innerHTML = html;
        const body = holder.tBodies[0];
        if (!table.querySelector("#action-toggle")) {
            body.querySelector("td:has(> input.action-select)")?.remove();
        }
        return body;
    }

    function insertByTime(table, body) {
        const at = Date.parse(body.dataset.at);
        const later = [...table.tBodies].find((other) => Date.parse(other.dataset.at) < at);
        if (later) {
            later.before(body);
        } else if (table.tBodies.length < Number(table.dataset.liveFirst)) {
            table.append(body);
        }
    }

    // --- The check boxes of a change list: Django's script knows only the rows of the first rendering

    function boxes() {
        return [...document.querySelectorAll("#result_list input.action-select")];
    }

    function countChecked() {
        const all = boxes();
        const checked = all.filter((box) => box.checked).length;
        for (const box of all) {
            box.closest("tr").classList.toggle("selected", box.checked);
        }
        for (const counter of document.querySelectorAll("span.action-counter")) {
            counter.textContent = `${checked} of ${all.length} selected`;
        }
        const toggle = document.getElementById("action-toggle");
        if (toggle) {
            toggle.checked = all.length > 0 && checked === all.length;
        }
    }

    document.addEventListener("change", (event) => {
        if (mark && event.target.matches("input.action-select")) {
            countChecked();
        }
    });

    document.addEventListener("click", (event) => {
        if (mark && event.target.id === "action-toggle") {
            for (const box of boxes()) {
                box.checked = event.target.checked;
            }
            countChecked();
        }
    });

    // --- Times that count up; portal/ui/times.py has the same format

    function span(seconds) {
        const units = [
            [86400, "d", 3600, "h"],
            [3600, "h", 60, "min"],
            [60, "min", 1, "s"],
        ];
        const whole = Math.max(Math.floor(seconds), 0);
        if (whole >= 10 * 86400) {
            return `${Math.floor(whole / 86400)} d`;
        }
        for (const [size, unit, smaller, rest] of units) {
            if (whole >= size) {
                const left = Math.floor((whole % size) / smaller);
                return `${Math.floor(whole / size)} ${unit}` + (left ? ` ${left} ${rest}` : "");
            }
        }
        return `${whole} s`;
    }

    function ago(seconds) {
        if (seconds < 0) {
            return `in ${span(-seconds)}`;
        }
        return seconds < 5 ? "just now" : `${span(seconds).replace(/^(\d+ (?:d|h|min)) .*/, "$1")} ago`;
    }

    function write(element, text) {
        if (element.textContent !== text) {
            element.textContent = text;
        }
    }

    // The time of day in the reader's zone, with the day unless it is today; portal/ui/times.py has the same format.
    const zone = document.querySelector("meta[name=portal-zone]")?.content || "UTC";

    function partsOf(date) {
        const options = { timeZone: zone, year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
        const parts = new Intl.DateTimeFormat("en-GB", options).formatToParts(date);
        return Object.fromEntries(parts.map(({ type, value }) => [type, value]));
    }

    function clock(date) {
        const then = partsOf(date);
        const now = partsOf(new Date());
        const time = `${then.hour}:${then.minute}`;
        if (then.year !== now.year) {
            return `${then.day} ${then.month} ${then.year} ${time}`;
        }
        return then.day === now.day && then.month === now.month ? time : `${then.day} ${then.month} ${time}`;
    }

    function tick() {
        for (const element of document.querySelectorAll("time[data-clock]")) {
            // Once a minute is enough for the day to become yesterday.
            const minute = Math.floor(Date.now() / 60000);
            if (Number(element.dataset.clock || 0) !== minute) {
                element.dataset.clock = minute;
                write(element, clock(new Date(element.dateTime)));
            }
        }
        for (const element of document.querySelectorAll("time[data-ago]")) {
            write(element, ago((Date.now() - Date.parse(element.dateTime)) / 1000));
        }
        for (const element of document.querySelectorAll("[data-elapsed]")) {
            write(element, span((Date.now() - Date.parse(element.dataset.elapsed)) / 1000));
        }
    }

    // --- Lifecycle

    function wake() {
        if (document.hidden) {
            mute();
            clearTimeout(timer);
            clearTimeout(soon);
            soon = null;
        } else if (!isLeaving && !hasEnded) {
            listen();
            refresh();
        }
    }

    function begin() {
        setInterval(() => document.hidden || tick(), 1000);
        mark = document.querySelector("[data-live-topics]");
        bell = document.querySelector("[data-inbox]");
        knownState = document.querySelector("[data-live-state]")?.dataset.liveState;
        if (!mark && !bell) {
            return;
        }
        say(mark?.dataset.liveTopics && window.EventSource ? "connecting" : "polling");
        followRun();
        listen();
        plan();
        document.addEventListener("visibilitychange", wake);
        // A refresh under way must not consume the messages meant for the next page.
        document.addEventListener("submit", (event) => {
            if (!event.defaultPrevented) {
                leave();
                setTimeout(stay, 15000); // it was a download, or no response came
            }
        });
        window.addEventListener("pagehide", leave);
        window.addEventListener("pageshow", (event) => event.persisted && stay());
    }

    function stay() {
        isLeaving = false;
        wake();
    }

    function leave() {
        isLeaving = true;
        controller?.abort();
        mute();
        clearTimeout(timer);
    }

    // A part of a form that is asked for after the session has ended gets the sign-in page: what is typed must stay.
    document.addEventListener("htmx:beforeSwap", ({ detail }) => {
        if (new URL(detail.xhr.responseURL || location.href).pathname.endsWith("/login/")) {
            detail.shouldSwap = false;
            detail.target.textContent = "You are signed out. Sign in in another tab; what you typed stays here.";
        }
    });
    document.addEventListener("htmx:responseError", ({ detail }) => {
        detail.target.textContent = "The portal did not answer. Try again.";
    });

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
