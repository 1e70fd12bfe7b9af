// The Hydrogen client, put together from its published parts as its own application is. The
// homeserver is named in the address after `?`.

import { FeatureSet, Platform, RootViewModel, createNavigation, createRouter } from "hydrogen-view-sdk";
import "hydrogen-view-sdk/theme-element-light.css";

const platform = new Platform({
    container: document.querySelector("#app"),
    assetPaths: {
        downloadSandbox: "download-sandbox.html",
        worker: "main.js",
        olm: { wasm: "olm.wasm", wasmBundle: "olm.js", legacyBundle: "olm_legacy.js" },
        serviceWorker: "sw.js",
    },
    config: { defaultHomeServer: decodeURIComponent(window.location.search.slice(1)) },
    options: { development: true },
});
const navigation = createNavigation();
platform.setNavigation(navigation);
await platform.init();
const urlRouter = createRouter({ navigation, history: platform.history });
urlRouter.attach();
const features = await FeatureSet.load(platform.settingsStorage);
const root = new RootViewModel({ platform, urlRouter, navigation, features });
platform.createAndMountRootView(root);
await root.load();
