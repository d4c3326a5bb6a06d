// The page of gains: all of it is there without a script; this adds the button of the colours.

for (const one of document.querySelectorAll("[hidden][data-script]")) one.removeAttribute("hidden");
listenToTheme();
document.documentElement.dataset.ready = "true";
