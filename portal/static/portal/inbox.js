/* Marks a notification as read when its link is followed: the link itself leads to what the notification is about. */
(() => {
    "use strict";

    function read(event) {
        const link = event.target.closest?.("a[data-notice]");
        const form = link?.closest("li").querySelector("form");
        // The second button opens a menu.
        if (!form || event.button === 2) {
            return;
        }
        const body = new FormData(form);
        body.set("quiet", "1");
        // The request outlives the page.
        fetch(form.action, { method: "POST", body, credentials: "same-origin", keepalive: true }).catch(() => {});
    }

    document.addEventListener("click", read);
    document.addEventListener("auxclick", read);
})();
