// Live parts rest while nobody looks, and while somebody marks text or has opened something in them.
document.addEventListener("htmx:beforeRequest", (event) => {
  const live = event.detail.elt.id === "live";
  const marked = String(document.getSelection()).length > 0;
  const busy = document.activeElement !== null && document.activeElement.closest("#live form") !== null;
  if (live && (document.hidden || marked || busy)) event.preventDefault();
});
