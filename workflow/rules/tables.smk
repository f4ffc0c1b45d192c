# Tables, figures and pages. `tables` has no inputs: it remakes them from whatever scores exist.


rule tabulate:
    input:
        # The study's own file: another choice of runs is another table.
        study=GRID.file,
        scores=all_scores,
        contamination=all_contamination(),
    output:
        report(
            f"{TABLES}/comparison.html",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"table": "comparison", "study": GRID.study},
        ),
        report(
            f"{TABLES}/comparison.csv",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"table": "comparison, as CSV", "study": GRID.study},
        ),
        report(
            f"{TABLES}/gains.csv",
            caption="../report/gains.rst",
            category="Comparison",
            labels={"table": "gains over the untrained model", "study": GRID.study},
        ),
        report(
            f"{TABLES}/cost.csv",
            caption="../report/cost.rst",
            category="Cost",
            labels={"table": "cost", "study": GRID.study},
        ),
        report(
            directory(f"{TABLES}/figures"),
            patterns=["{figure}-{model}.{dataset}.svg"],
            caption="../report/figures.rst",
            category=category_of_figure,
            labels={"model": "{model}", "dataset": "{dataset}"},
        ),
        report(
            directory(f"{TABLES}/examples"),
            patterns=["{model}.{dataset}.html"],
            caption="../report/examples.rst",
            category="Example answers",
            labels={"model": "{model}", "dataset": "{dataset}"},
        ),
        f"{TABLES}/comparison.md",
        f"{TABLES}/comparison.tex",
    log:
        f"results/logs/tabulate/{GRID.study}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        study=STUDY_FILE,
    message:
        in_log("make the tables of {GRID.study}")
    shell:
        "python -m loragrid tabulate --study {params.study:q} > {log} 2>&1"


rule tables:
    log:
        f"results/logs/tables/{GRID.study}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        study=STUDY_FILE,
    message:
        in_log("make the tables of {GRID.study}")
    shell:
        "python -m loragrid tabulate --study {params.study:q} 2>&1 | tee {log}"
