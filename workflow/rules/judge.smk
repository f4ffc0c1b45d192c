# What a judge says of answers: asked where Snakemake itself runs, since compute nodes have no internet. Scores are made of
# it in the rule `score`.


rule judge:
    input:
        inputs_of_judge,
    output:
        update(touch("results/batches/judge-{batch}.done")),
    log:
        "results/logs/judge/{batch}.log",
    # Requests are repeated within; what keeps failing is told, and the next start tries again.
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    # It waits for a server most of the time: for hours it must not hold up what else runs here, publishing above all.
    threads: 0
    resources:
        # One at a time (see profiles/default), or together they would ask faster than is allowed.
        judge_requests=1,
    params:
        members=members_of("judge"),
    message:
        in_log("judge {params.members}")
    shell:
        "exec python -m loragrid judge results/batches/judge-{wildcards.batch}.json >> {log} 2>&1"


rule publish_judgements:
    input:
        batch_of_judgements,
    output:
        update("results/{subject}/eval/{evaluation}/judgements/{score}-{key}.jsonl"),
        update("results/{subject}/eval/{evaluation}/judgements/{score}-{key}.about.json"),
    log:
        "results/logs/publish_judgements/{subject}/{evaluation}/{score}-{key}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        answers=answers_in_words,
    message:
        in_log("publish the judgements of {params.answers}")
    shell:
        f"{PUBLISHED} python -m loragrid publish results/{{wildcards.subject}}/eval/{{wildcards.evaluation}} {{output}} > {{log}} 2>&1"
