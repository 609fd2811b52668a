// Shows times in the browser's time zone, beside those of the window and of the portal.
document.addEventListener("DOMContentLoaded", () => {
    const words = { weekday: "short", day: "2-digit", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" };
    const format = new Intl.DateTimeFormat("en-GB", { ...words, timeZoneName: "short" });
    for (const cell of document.querySelectorAll("[data-own-clock]")) {
        if (cell.dataset.ownClock) {
            cell.textContent = format.format(new Date(cell.dataset.ownClock));
        }
        cell.hidden = false;
    }
});
