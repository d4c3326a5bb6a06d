// The page's data. analysis/report/data.py, trials.py, history.py and live.py write it; losses in nats per token.
type Numbers = (number | null)[];
type Texts = (string | null)[];
interface GridData { almr: number[]; lr: number[]; mean: Record<string, string>; sd: Record<string, string>; score: Record<string, string> }
interface GoalData {
  weights: Record<string, number>; bounds: Record<string, number>;
  forgetting: number | null; guards: Record<string, number>;
}
interface WinnerData {
  almr: number | null; lr: number; objective: number;
  almr_interval: Numbers; lr_interval: number[];
  region: number[][]; curve: Numbers[]; edge: number[][]; front: Numbers[];
}
interface TrialColumns {
  id: string[]; almr: Numbers; lr: Numbers; seed: Numbers; status: string[]; objective: Numbers;
  loss: Record<string, Numbers>; score: Record<string, Numbers>;
  counted: Numbers; tokens: Numbers; seconds: Numbers;
  out: Texts; why: Texts; order: Numbers; log: Texts;
}
interface Curves { axes: number[][]; axis: Numbers; loss: (number[] | null)[] }
interface ScoreData {
  name: string; sign: number; base: number | null; change: number | null;
  interval: number[] | null; verdict: string | null; best: number[] | null;
}
interface RuleData { name: string; lr: number; interval: number[]; applies: boolean; chosen: boolean }
interface WinnerAtBudget { trials: number; almr: number[]; lr: number[]; objective: number[] }
interface LiveData { every: number | null; written: string; at: number; running: number[][]; corners: number[][] }
interface PageData {
  study: string; unit: string; level: number; quantiles: number[];
  labels: Record<string, string>; losses: string[]; base: Record<string, number>;
  goal: GoalData; alone: string | null; grid: GridData | null; winner: WinnerData | null;
  next: Numbers[]; trials: TrialColumns; curves: Curves;
  scores: ScoreData[]; rules: RuleData[]; history: WinnerAtBudget[]; table: string;
}

// What the scripts share.
type Matrix = Float64Array; // rows of ALMRs, columns of LRs
interface Lattice {
  almr: number[]; lr: number[];
  mean: Record<string, Matrix>; sd: Record<string, Matrix>; score: Record<string, Matrix>;
}
interface Found {
  almr: number; lr: number; objective: number; interval: [number, number];
  losses: Record<string, number>; kept: boolean;
}
interface Scale { (value: number): number; domain: [number, number]; range: [number, number]; log: boolean;
  invert(place: number): number }
interface Layer { key: string; label: string; unit: string; field: Matrix | null; trials: Numbers; higher: boolean }
interface Page {
  data: PageData; live: LiveData | null; lattice: Lattice | null; fine: Lattice | null; layer: string;
  weights: Record<string, number>; bounds: Record<string, number>;
  moved: boolean; // whether a control of what-if was
  changed: boolean; // whether the objective is another than the fit's
  found: Found | null; // the winner of another objective
  selected: number; hot: number; // trials by their place in the data, -1: none
}
interface Plot { x: Scale; y: Scale; place: (k: number) => [number, number] | null }
