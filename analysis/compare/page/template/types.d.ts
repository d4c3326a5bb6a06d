// The page's data. analysis/compare/page/page.py writes it; losses in nats per token.
type Numbers = (number | null)[];
interface BestPoint {
  mark: string; name: string; almr: number | null; lr: number; almr_interval: Numbers; lr_interval: number[];
  alone: string | null; refused: boolean;
}
interface MapData {
  mark: string; name: string; labels: Record<string, string>; weights: Record<string, number>;
  grid_almr: number[]; grid_lr: number[]; mean: Record<string, string>;
  almr: Numbers; lr: Numbers; status: string[]; loss: Record<string, Numbers>;
  winner: BestPoint; region: number[][];
}
interface ComparisonData { winners: BestPoint[]; runs: MapData[]; scales: Record<string, boolean> }

// What the scripts share; the others are in analysis/report/template/types.d.ts.
type Matrix = Float64Array;
interface Surface { rows: number; columns: number; losses: Record<string, Matrix> }
interface Scale { (value: number): number; domain: [number, number]; range: [number, number]; log: boolean;
  invert(place: number): number }
