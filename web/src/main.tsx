import "./design/tokens.css";
import "./design/app.css";
import "./theme";
import { render } from "preact";
import { App } from "./app";

render(<App />, document.getElementById("app")!);
