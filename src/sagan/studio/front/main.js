import { connect } from "studio/back.js";
import { mountClasses } from "studio/classes.js";
import { mountDirections } from "studio/directions.js";
import { mountExplain } from "studio/explain.js";
import { mountGammas } from "studio/gammas.js";
import { mountLatent } from "studio/latent-controls.js";
import { mountOwn } from "studio/own.js";
import { mountSave } from "studio/save.js";
import { Session } from "studio/session.js";
import { mountSpeech } from "studio/speak.js";
import { mountStage } from "studio/stage.js";
import { mountTimeline } from "studio/timeline.js";
import { mountTop } from "studio/top.js";
import { mountViews } from "studio/views.js";

const at = (id) => document.getElementById(id);

/** Takes the token out of the address: a cookie has it now, and addresses are copied and shown. */
function forgetToken() {
  const address = new URL(location.href);
  if (!address.searchParams.has("token")) return;
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

/** Everything on the page: each part gets an element and the session. */
async function start() {
  const line = at("line");
  forgetToken();
  try {
    const backend = await connect();
    const { models, gone } = await backend.models();
    const session = new Session(backend, models);
    session.on("told", (text) => { line.textContent = text; });
    mountTop(at("top"), session);
    mountStage(at("stage"), session);
    mountLatent(at("latent"), session);
    mountClasses(at("classes"), session);
    mountGammas(at("gammas"), session);
    mountDirections(at("directions"), session);
    mountSpeech(at("spoken"), session, at("stage"));
    mountOwn(at("own"), session);
    mountViews(at("top"), session);
    mountSave(at("top"), session);
    mountExplain(at("explain"), session);
    mountTimeline(at("timeline"), session);
    window.studio = session;
    session.start(gone);
  } catch (error) {
    line.textContent = error.message;
  }
}

start();
